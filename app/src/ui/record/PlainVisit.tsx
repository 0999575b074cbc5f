/** A date without a model's answer: photographs are added and taken out, day and note are written; all of it is kept at once. */

import { useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import type { Edit } from "../../core/geometry";
import { dayText, t, today } from "../../i18n";
import { changeVisit, lastPhotograph } from "../../notebook/cases";
import { identity } from "../../notebook/record";
import type { Visit, VisitPhoto } from "../../notebook/types";
import { tellDone, tellError } from "../../state/notices";
import { FileInput, KeptDay, KeptText } from "../fields";
import { Icon } from "../icons";
import { later } from "../later";
import { AnsweredBy, KeptPhoto } from "../VisitView";
import { keptPhoto } from "./photos";

const Camera = later(async () => (await import("../Camera")).Camera);

export function PlainVisit({ visit }: { visit: Visit }) {
  const input = useRef<HTMLInputElement>(null);
  const shooting = useSignal(false);
  const write = (changed: Parameters<typeof changeVisit>[1]): void =>
    void changeVisit(visit.id, changed).catch((error: unknown) => tellError(error));
  const add = async (files: Iterable<{ blob: Blob; name: string; edit?: Edit }>): Promise<void> => {
    for (const { blob, name, edit } of files) {
      try {
        const photo = { id: identity(), ...(await keptPhoto(blob, edit)), probabilities: [], reasons: [], cam: null };
        await changeVisit(visit.id, ({ photos }) => ({ photos: [...photos, photo] }));
      } catch (error) {
        tellError(error, name);
      }
    }
  };
  const remove = (photo: VisitPhoto): void => {
    write(({ photos }) => ({ photos: photos.filter(({ id }) => id !== photo.id) }));
    tellDone("photoRemoved", {}, () => write(({ photos }) => ({ photos: [...photos, photo] })));
  };
  return (
    <article class="visit" data-testid="visit">
      <header class="visit-head">
        <h3>{dayText(visit.date)}</h3>
      </header>
      <div class="visit-photos">
        {visit.photos.map((photo, i) => (
          <div key={photo.id} class="plain-photo">
            <KeptPhoto photo={photo} classIndex={0} heat={0} label={t("photograph", { number: i + 1 })} />
            <button type="button" class="button button-quiet no-print" onClick={() => remove(photo)}>
              <Icon name="trash" />
              {t("removePhoto")}
            </button>
          </div>
        ))}
        <div class="actions actions-start no-print">
          <button type="button" class="button" onClick={() => input.current!.click()}>
            <Icon name="plus" />
            {t("addPhoto")}
          </button>
          <FileInput
            input={input}
            accept="image/*"
            multiple
            testId="plain-input"
            onFiles={(files) => void add(files.map((file) => ({ blob: file, name: file.name })))}
          />
          <button type="button" class="button" onClick={() => (shooting.value = true)} data-testid="plain-camera">
            <Icon name="camera" />
            {t("camera")}
          </button>
        </div>
      </div>
      <div class="visit-words form">
        <KeptDay
          label={t("date")}
          day={visit.date}
          required
          max={today()}
          onKeep={(date) => write(() => ({ date }))}
          testId="plain-date"
        />
        <KeptText
          label={t("note")}
          text={visit.note}
          lines={3}
          maxLength={4000}
          onKeep={(note) => write(() => ({ note }))}
          testId="plain-note"
        />
        <AnsweredBy visit={visit} />
      </div>
      {shooting.value && (
        <Camera
          ghost={() => lastPhotograph(visit.caseId)}
          onShot={(shot) => void add([shot])}
          onClose={() => (shooting.value = false)}
        />
      )}
    </article>
  );
}

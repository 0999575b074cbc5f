/** Put the answer into the notebook: a new lesion, or another date of a known one. What is written is kept with the draft. */

import { effect, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { Known } from "../core/metadata";
import type { Spec } from "../core/spec";
import { t, today, untitled } from "../i18n";
import { listCases, saveVisit } from "../notebook/cases";
import type { CaseBrief } from "../notebook/brief";
import { newCase, newVisit } from "../notebook/record";
import { keepStorage } from "../notebook/database";
import { ageOf } from "../patients/store";
import { capture, model } from "../state/models";
import { tellDone, tellError } from "../state/notices";
import { chosenValues, operatingPoint } from "../state/operating";
import { go } from "../state/route";
import {
  type Answer,
  busy,
  clearSession,
  concerns,
  followUp,
  known as told,
  photos,
  tell,
  tellPlace,
  words,
} from "../state/session";
import { onlySite } from "./body";
import { BodyMap } from "./BodyMap";
import { Dialog } from "./Dialog";
import { FormActions, NoteField, TextField } from "./fields";
import { VerdictLine } from "./Verdict";

const NEW = "";

interface Props {
  answer: Answer;
  spec: Spec;
  onClose: () => void;
}

/** That another model answered at the last date of the lesion. */
function OtherModel({ one }: { one: CaseBrief | undefined }) {
  const last = one?.visits.flatMap((visit) => visit.model ?? []).at(-1);
  if (last === undefined || model.value.kind !== "ready" || last.digest === model.value.entry.digest) return null;
  return (
    <p class="problem" data-testid="other-model">
      {t("answeredOther", { title: last.title, now: model.value.spec.title })}
    </p>
  );
}

export function SaveDialog({ answer, spec, onClose }: Props) {
  const before = words.peek();
  const known = useSignal<CaseBrief[]>([]);
  const target = useSignal(before?.target ?? followUp.value ?? NEW);
  const title = useSignal(before?.title ?? "");
  const site = useSignal(before?.site ?? onlySite(told.peek().site));
  const note = useSignal(before?.note ?? "");
  const date = useSignal(before?.date ?? today());
  const saving = useSignal(false);
  // At once, not a frame later as useSignalEffect does: the dialog may be closed right behind the last word.
  useEffect(
    () =>
      effect(() => {
        words.value = {
          target: target.value,
          title: title.value,
          site: site.value,
          note: note.value,
          date: date.value,
        };
      }),
    [],
  );
  useEffect(() => {
    let current = true;
    listCases().then(
      ({ cases }) => {
        if (!current) return;
        known.value = cases;
        if (!cases.some(({ id }) => id === target.value)) target.value = NEW;
      },
      (error: unknown) => {
        if (!current) return;
        tellError(error);
        onClose();
      },
    );
    return () => {
      current = false;
    };
  }, []);
  const chosen = known.value.find((one) => one.id === target.value);
  const own = useRef<Known | null>(null); // what was told before a lesion of the notebook was chosen
  useEffect(() => {
    if (own.current !== null) told.value = own.current;
    own.current = chosen === undefined ? null : told.peek();
    if (chosen === undefined) return;
    if (chosen.site !== null) tellPlace(chosen.site);
    void ageOf(chosen).then((age) => {
      if (age !== null && target.peek() === chosen.id && told.peek().age === undefined) tell("age", age);
    });
  }, [chosen?.id]);

  const save = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    if (saving.value || model.value.kind !== "ready") return;
    saving.value = true;
    try {
      const { visits: _, ...existing } = chosen ?? {
        ...newCase(title.value.trim() || untitled(site.value, date.value), site.value),
        visits: [],
      };
      const visit = await newVisit({
        caseId: existing.id,
        date: date.value,
        note: note.value,
        photos: photos.value,
        answer,
        spec,
        entry: model.value.entry,
        operatingPoint: operatingPoint(spec),
        values: chosenValues(spec),
        concerns: concerns.value,
        known: told.value,
        taken: capture.value,
      });
      await saveVisit(existing, visit);
      await keepStorage();
      onClose();
      clearSession();
      tellDone("saved");
      go({ page: "case", id: existing.id });
    } catch (error) {
      tellError(error);
      saving.value = false;
    }
  };

  return (
    <Dialog title={t("saveToNotebook")} onClose={onClose} class="dialog-save">
      <form class="form" onSubmit={(event) => void save(event)}>
        {known.value.length > 0 && (
          <label class="field">
            <span>{t("lesion")}</span>
            <select
              value={target.value}
              onChange={(event) => (target.value = event.currentTarget.value)}
              data-testid="case-choice"
            >
              <option value={NEW}>{t("newLesion")}</option>
              {known.value.map((one) => (
                <option key={one.id} value={one.id}>
                  {one.title}
                </option>
              ))}
            </select>
          </label>
        )}
        <p role="status" data-testid="saved-verdict">
          <VerdictLine verdict={answer.verdict} />
        </p>
        <OtherModel one={chosen} />
        {target.value === NEW && (
          <>
            <TextField
              label={t("title")}
              text={title}
              maxLength={120}
              placeholder={t("titleHint")}
              testId="case-title"
            />
            <BodyMap
              site={site.value}
              onPick={(picked) => {
                site.value = picked;
                tellPlace(picked);
              }}
            />
          </>
        )}
        <TextField label={t("date")} text={date} type="date" required max={today()} testId="case-date" />
        <NoteField text={note} testId="case-note" />
        <p class="small">{t("savePrivate")}</p>
        <FormActions
          onClose={onClose}
          disabled={saving.value || busy.value || (target.value !== NEW && chosen === undefined)}
          testId="save-case"
        />
      </form>
    </Dialog>
  );
}

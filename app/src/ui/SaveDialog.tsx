/** Put the answer into the notebook: a new lesion, or another date of a known one. */

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { Spec } from "../core/spec";
import { t, today, untitled } from "../i18n";
import { listCases, saveVisit } from "../notebook/cases";
import type { CaseBrief } from "../notebook/brief";
import { newCase, newVisit } from "../notebook/record";
import type { Site } from "../notebook/types";
import { keepStorage } from "../notebook/database";
import { capture, model } from "../state/models";
import { tellDone, tellError } from "../state/notices";
import { operatingPoint } from "../state/operating";
import { go } from "../state/route";
import { type Answer, clearSession, concerns, followUp, photos } from "../state/session";
import { BodyMap } from "./BodyMap";
import { Dialog } from "./Dialog";

const NEW = "";

interface Props {
  answer: Answer;
  spec: Spec;
  onClose: () => void;
}

export function SaveDialog({ answer, spec, onClose }: Props) {
  const known = useSignal<CaseBrief[]>([]);
  const target = useSignal(NEW);
  const title = useSignal("");
  const site = useSignal<Site | null>(null);
  const note = useSignal("");
  const date = useSignal(today());
  const saving = useSignal(false);
  useEffect(() => {
    listCases().then(
      ({ cases }) => {
        known.value = cases;
        if (cases.some(({ id }) => id === followUp.value)) target.value = followUp.value!;
      },
      (error: unknown) => {
        tellError(error);
        onClose();
      },
    );
  }, []);

  const save = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    if (saving.value || model.value.kind !== "ready") return;
    saving.value = true;
    try {
      const before = known.value.find((one) => one.id === target.value);
      const { visits: _, ...existing } = before ?? {
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
        concerns: concerns.value,
        taken: capture.value,
      });
      await saveVisit({ ...existing, updated: visit.created }, visit);
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
        {target.value === NEW && (
          <>
            <label class="field">
              <span>{t("title")}</span>
              <input
                type="text"
                value={title.value}
                maxLength={120}
                placeholder={t("titleHint")}
                onInput={(event) => (title.value = event.currentTarget.value)}
                data-testid="case-title"
              />
            </label>
            <BodyMap site={site.value} onPick={(picked) => (site.value = picked)} />
          </>
        )}
        <label class="field">
          <span>{t("date")}</span>
          <input
            type="date"
            required
            value={date.value}
            max={today()}
            onInput={(event) => (date.value = event.currentTarget.value)}
            data-testid="case-date"
          />
        </label>
        <label class="field">
          <span>{t("note")}</span>
          <textarea
            rows={3}
            maxLength={4000}
            value={note.value}
            onInput={(event) => (note.value = event.currentTarget.value)}
            data-testid="case-note"
          />
        </label>
        <p class="small">{t("savePrivate")}</p>
        <div class="actions">
          <button type="button" class="button" onClick={onClose}>
            {t("cancel")}
          </button>
          <button type="submit" class="button button-primary" disabled={saving.value} data-testid="save-case">
            {t("save")}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

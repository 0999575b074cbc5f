/** A patient's few facts: a code rather than a name. */

import { useSignal } from "@preact/signals";
import { t } from "../../i18n";
import { savePatient } from "../../patients/store";
import type { Patient } from "../../patients/types";
import { tellDone, tellError } from "../../state/notices";
import { Dialog } from "../Dialog";
import { ROMAN } from "./numbers";

export function PatientForm({
  patient,
  onSaved,
  onClose,
}: {
  patient: Patient;
  onSaved: (saved: Patient) => void;
  onClose: () => void;
}) {
  const code = useSignal(patient.code);
  const year = useSignal(patient.birthYear === null ? "" : String(patient.birthYear));
  const skinType = useSignal(patient.skinType === null ? "" : String(patient.skinType));
  const note = useSignal(patient.note);
  const save = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const changed: Patient = {
      ...patient,
      code: code.value.trim(),
      birthYear: year.value === "" ? null : Number(year.value),
      skinType: skinType.value === "" ? null : (Number(skinType.value) as Patient["skinType"]),
      note: note.value,
    };
    try {
      await savePatient(changed);
      tellDone("saved");
      onSaved(changed);
    } catch (error) {
      tellError(error);
    }
  };
  return (
    <Dialog title={t("patient")} onClose={onClose} class="dialog-narrow">
      <form class="form" onSubmit={(event) => void save(event)}>
        <label class="field">
          <span>{t("patientCode")}</span>
          <input
            type="text"
            required
            pattern=".*\S.*"
            maxLength={60}
            value={code.value}
            onInput={(event) => (code.value = event.currentTarget.value)}
            data-testid="patient-code"
          />
        </label>
        <label class="field">
          <span>{t("birthYear")}</span>
          <input
            type="number"
            min="1900"
            max={new Date().getFullYear()}
            value={year.value}
            onInput={(event) => (year.value = event.currentTarget.value)}
            data-testid="birth-year"
          />
        </label>
        <label class="field">
          <span>{t("skinType")}</span>
          <select
            value={skinType.value}
            onChange={(event) => (skinType.value = event.currentTarget.value)}
            data-testid="skin-type"
          >
            <option value="">{t("notStated")}</option>
            {ROMAN.map((roman, i) => (
              <option key={roman} value={String(i + 1)}>
                {roman}
              </option>
            ))}
          </select>
        </label>
        <label class="field">
          <span>{t("note")}</span>
          <textarea
            rows={3}
            maxLength={4000}
            value={note.value}
            onInput={(event) => (note.value = event.currentTarget.value)}
          />
        </label>
        <p class="small">{t("patientPrivate")}</p>
        <div class="actions">
          <button type="button" class="button" onClick={onClose}>
            {t("cancel")}
          </button>
          <button type="submit" class="button button-primary" data-testid="save-patient">
            {t("save")}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

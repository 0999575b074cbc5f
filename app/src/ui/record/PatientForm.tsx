/** A patient's few facts: a code rather than a name. */

import { useSignal } from "@preact/signals";
import { t } from "../../i18n";
import { savePatient } from "../../patients/store";
import { type Patient, ROMAN } from "../../patients/types";
import { tellDone, tellError } from "../../state/notices";
import { Dialog } from "../Dialog";
import { FormActions, NoteField, TextField } from "../fields";

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
        <TextField
          label={t("patientCode")}
          text={code}
          required
          pattern=".*\S.*"
          maxLength={60}
          testId="patient-code"
        />
        <TextField
          label={t("birthYear")}
          text={year}
          type="number"
          min="1900"
          max={String(new Date().getFullYear())}
          testId="birth-year"
        />
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
        <NoteField text={note} />
        <p class="small">{t("patientPrivate")}</p>
        <FormActions onClose={onClose} testId="save-patient" />
      </form>
    </Dialog>
  );
}

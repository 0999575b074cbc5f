/** The few facts of a lesion: what it is called, where it is, a note. */

import { useSignal } from "@preact/signals";
import { t, today, untitled } from "../i18n";
import { saveVisit } from "../notebook/cases";
import { newCase, plainVisit } from "../notebook/record";
import type { Case } from "../notebook/types";
import { NO_CLINICAL } from "../patients/types";
import { tellError } from "../state/notices";
import { go } from "../state/route";
import { BodyMap } from "./BodyMap";
import { Dialog } from "./Dialog";
import { FormActions, NoteField, TextField } from "./fields";
import { Icon } from "./icons";

type Facts = Pick<Case, "title" | "note" | "site">;

interface Props {
  heading: string;
  text?: string;
  one: Facts & Pick<Case, "created">;
  /** Gives whether they are kept. */
  onSave: (facts: Facts) => Promise<boolean>;
  onClose: () => void;
}

export function CaseForm({ heading, text, one, onSave, onClose }: Props) {
  const title = useSignal(one.title);
  const note = useSignal(one.note);
  const site = useSignal(one.site);
  const save = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const named = title.value.trim() || untitled(site.value, one.created.slice(0, 10));
    if (await onSave({ title: named, note: note.value, site: site.value })) onClose();
  };
  return (
    <Dialog title={heading} onClose={onClose} class="dialog-save">
      <form class="form" onSubmit={(event) => void save(event)}>
        {text && <p>{text}</p>}
        <TextField label={t("title")} text={title} maxLength={120} placeholder={t("titleHint")} testId="case-title" />
        <BodyMap site={site.value} onPick={(picked) => (site.value = picked)} />
        <NoteField text={note} testId="case-note" />
        <FormActions onClose={onClose} testId="save-case" />
      </form>
    </Dialog>
  );
}

/** A lesion to photograph, measure and describe without asking a model. */
export function NewLesion({ patientId = null }: { patientId?: string | null }) {
  const making = useSignal<Case | null>(null);
  const save = async (facts: Facts): Promise<boolean> => {
    const { id } = making.value!;
    const clinical = patientId === null ? {} : { clinical: { ...NO_CLINICAL, patientId } };
    try {
      await saveVisit({ ...making.value!, ...facts, ...clinical }, plainVisit(id, today()));
      go({ page: "case", id });
      return true;
    } catch (error) {
      tellError(error);
      return false;
    }
  };
  return (
    <>
      <button type="button" class="button" onClick={() => (making.value = newCase("", null))} data-testid="new-lesion">
        <Icon name="plus" />
        {t("newLesionPlain")}
      </button>
      {making.value !== null && (
        <CaseForm
          heading={t("newLesionPlain")}
          text={t("newLesionPlainText")}
          one={making.value}
          onSave={save}
          onClose={() => (making.value = null)}
        />
      )}
    </>
  );
}

/** A file of the record, under a passphrase where wanted. */

import { useSignal } from "@preact/signals";
import { t } from "../../i18n";
import { downloadBlob } from "../../notebook/download";
import { exportNotebook, type NotebookContent } from "../../notebook/transfer";
import { encrypt, SHORTEST_PASSPHRASE } from "../../patients/encryption";
import { tellDone, tellError } from "../../state/notices";
import { Dialog } from "../Dialog";
import { FormActions, TextField } from "../fields";

interface Props {
  /** Without ".json". */
  name: string;
  content: () => Promise<NotebookContent & { damaged: number }>;
  onClose: () => void;
}

export function ExportDialog({ name, content, onClose }: Props) {
  const isSecret = useSignal(true);
  const passphrase = useSignal("");
  const again = useSignal("");
  const working = useSignal(false);
  const differ = isSecret.value && passphrase.value !== again.value;
  const save = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    working.value = true;
    try {
      const { damaged, ...records } = await content();
      const blob = await exportNotebook(records);
      if (isSecret.value) downloadBlob(await encrypt(blob, passphrase.value), `${name}-encrypted.json`);
      else downloadBlob(blob, `${name}.json`);
      if (damaged > 0) tellDone("exportedWithout", { count: damaged });
      else tellDone("exported");
      onClose();
    } catch (error) {
      tellError(error);
    }
    working.value = false;
  };
  return (
    <Dialog title={t("export")} onClose={onClose} class="dialog-narrow">
      <form class="form" onSubmit={(event) => void save(event)}>
        <label class="question">
          <input
            type="checkbox"
            checked={isSecret.value}
            onChange={(event) => (isSecret.value = event.currentTarget.checked)}
            data-testid="encrypted"
          />
          <span>{t("exportEncrypted")}</span>
        </label>
        {isSecret.value ? (
          <>
            <TextField
              label={t("passphrase", { least: SHORTEST_PASSPHRASE })}
              text={passphrase}
              type="password"
              autocomplete="new-password"
              required
              minLength={SHORTEST_PASSPHRASE}
              testId="passphrase"
            />
            <TextField
              label={t("passphraseAgain")}
              text={again}
              type="password"
              autocomplete="new-password"
              testId="passphrase-again"
            />
            <p class="small" role="status">
              {t(differ && again.value !== "" ? "passphrasesDiffer" : "passphraseLost")}
            </p>
          </>
        ) : (
          <p class="problem">{t("exportPlain")}</p>
        )}
        <FormActions onClose={onClose} label={t("export")} disabled={working.value || differ} testId="export-save" />
      </form>
    </Dialog>
  );
}

/** Ask for the passphrase of a file that was written under one. */
export function PassphraseDialog({ onGiven, onClose }: { onGiven: (passphrase: string) => void; onClose: () => void }) {
  const passphrase = useSignal("");
  return (
    <Dialog title={t("passphraseAsk")} onClose={onClose} class="dialog-narrow">
      <form
        class="form"
        onSubmit={(event) => {
          event.preventDefault();
          onGiven(passphrase.value);
        }}
      >
        <TextField
          label={t("passphraseAsk")}
          text={passphrase}
          type="password"
          autocomplete="current-password"
          testId="passphrase"
        />
        <FormActions onClose={onClose} label={t("import")} testId="passphrase-give" />
      </form>
    </Dialog>
  );
}

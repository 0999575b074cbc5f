/** "A new version is ready": the person decides when the page changes under them. */

import { t } from "../i18n";
import { applyUpdate, updateReady } from "../state/offline";

export function UpdatePrompt() {
  if (!updateReady.value) return null;
  return (
    <div class="update" role="alert" data-testid="update">
      <p>{t("updateReady")}</p>
      <button type="button" class="button button-primary" onClick={() => void applyUpdate()}>
        {t("updateNow")}
      </button>
      <button type="button" class="button" onClick={() => (updateReady.value = false)}>
        {t("updateLater")}
      </button>
    </div>
  );
}

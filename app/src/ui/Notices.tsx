/** Messages at the edge of the page, and those that came while a dialog is open in that dialog. */

import { errorText, t } from "../i18n";
import { dismiss, notices, openDialogs, type Opened } from "../state/notices";
import { Icon } from "./icons";

export function Notices({ dialog }: { dialog?: Opened }) {
  const since = dialog?.since ?? 0;
  const above = openDialogs.value[dialog === undefined ? 0 : openDialogs.value.indexOf(dialog) + 1];
  const shown = notices.value.filter(({ id }) => id >= since && id < (above?.since ?? Infinity));
  return (
    <div class="notices" role="status" aria-live="polite">
      {shown.map((notice) => (
        <div key={notice.id} class={`notice notice-${notice.kind}`} data-testid={`notice-${notice.kind}`}>
          <Icon name={notice.kind === "error" ? "warning" : "done"} />
          <p>
            {notice.kind === "error" && notice.subject && <strong>{notice.subject}: </strong>}
            {notice.kind === "error" ? errorText(notice.error) : t(notice.text, notice.params)}
          </p>
          {notice.kind === "done" && notice.undo && (
            <button
              type="button"
              class="button"
              onClick={() => {
                notice.undo?.();
                dismiss(notice.id);
              }}
              data-testid="undo"
            >
              {t("undo")}
            </button>
          )}
          <button type="button" class="icon-button" aria-label={t("dismiss")} onClick={() => dismiss(notice.id)}>
            <Icon name="close" />
          </button>
        </div>
      ))}
    </div>
  );
}

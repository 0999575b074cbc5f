/** Which model answers, what it was made for, and how long it took. */

import { meta, t } from "../i18n";
import { modelName } from "../state/catalogue";
import { model } from "../state/models";
import { Icon } from "./icons";

export const MADE_FOR = {
  dermoscopy: "madeForDermoscopy",
  clinical: "madeForClinical",
  phantom: "madeForPhantom",
  other: "madeForOther",
  "not stated": "madeForNotStated",
} as const;

export function ModelBadge({ milliseconds }: { milliseconds?: number | undefined }) {
  const state = model.value;
  if (state.kind === "failed" || state.kind === "none") return null;
  return (
    <div class="badge" data-testid="model-badge" data-state={state.kind}>
      {state.kind === "ready" ? <Icon name="models" /> : <span class="spinner" />}
      {state.kind === "ready" ? (
        <p>
          <a href="#/models">{modelName(state.entry)}</a>
          {t(MADE_FOR[state.spec.domain])}
          {milliseconds !== undefined && (
            <>
              {meta().spaced && " "}
              {t("took", { milliseconds: Math.round(milliseconds) })}
            </>
          )}
        </p>
      ) : (
        <p>{t("loadingModel")}</p>
      )}
    </div>
  );
}

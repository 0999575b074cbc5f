/** The classes that remain in the prediction set, as chips. */

import type { ClassSpec } from "../core/spec";
import { className, percent, t } from "../i18n";

export function Chips({ classes, coverage }: { classes: readonly ClassSpec[]; coverage: number }) {
  if (classes.length === 0) {
    return (
      <p class="small" data-testid="prediction-set">
        {t("setEmpty", { coverage: percent(coverage) })}
      </p>
    );
  }
  return (
    <div data-testid="prediction-set">
      <p class="small">{t("setOf", { coverage: percent(coverage) })}</p>
      <ul class="chips">
        {classes.map((label) => (
          <li key={label.code} class={label.malignant === true ? "chip chip-malignant" : "chip"} data-code={label.code}>
            {className(label)}
            {label.malignant === true && <span class="tag">{t("malignant")}</span>}
          </li>
        ))}
      </ul>
    </div>
  );
}

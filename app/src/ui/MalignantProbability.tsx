/** The malignant classes together, against an operating point of the model. */

import type { OperatingPoint } from "../core/spec";
import { finePercent, percent, t } from "../i18n";

interface Props {
  probability: number;
  points: readonly OperatingPoint[];
  chosen: OperatingPoint | null;
  onChoose: (name: string) => void;
}

export function MalignantProbability({ probability, points, chosen, onChoose }: Props) {
  return (
    <section class="malignant-probability" data-testid="malignant-probability">
      <div class="malignant-probability-head">
        <h3>{t("probabilityTitle")}</h3>
        <span class="malignant-probability-value">{percent(probability)}</span>
      </div>
      <div class="malignant-probability-track" aria-hidden="true">
        <span class="malignant-probability-fill" style={{ "--fraction": probability }} />
        {chosen && <span class="malignant-probability-line" style={{ left: `${chosen.threshold * 100}%` }} />}
      </div>
      {chosen && points.length > 1 && (
        <fieldset class="segments">
          <legend>{t("probabilityLine")}</legend>
          {points.map((point) => (
            <label key={point.name}>
              <input
                type="radio"
                name="operating-point"
                checked={point.name === chosen.name}
                onChange={() => onChoose(point.name)}
              />
              <span>{finePercent(point.sensitivity)}</span>
            </label>
          ))}
        </fieldset>
      )}
    </section>
  );
}

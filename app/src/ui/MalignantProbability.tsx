/** The malignant classes together, against an operating point of the model. */

import type { OperatingPoint } from "../core/spec";
import { finePercent, percent, t } from "../i18n";

interface Props {
  share: number;
  points: readonly OperatingPoint[];
  chosen: OperatingPoint | null;
  onChoose: (name: string) => void;
}

export function MalignantProbability({ share, points, chosen, onChoose }: Props) {
  return (
    <section class="share" data-testid="share">
      <div class="share-head">
        <h3>{t("shareTitle")}</h3>
        <span class="share-value">{percent(share)}</span>
      </div>
      <div class="share-track" aria-hidden="true">
        <span class="share-fill" style={{ "--share": share }} />
        {chosen && <span class="share-line" style={{ left: `${chosen.threshold * 100}%` }} />}
      </div>
      {chosen && points.length > 1 && (
        <fieldset class="segments">
          <legend>{t("shareLine")}</legend>
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

/** Probabilities as bars with plain names; each bar can choose its class. */

import type { ClassSpec } from "../core/spec";
import { className, percent, t } from "../i18n";

interface Props {
  classes: readonly ClassSpec[];
  probabilities: readonly number[];
  /** Highlighted class. */
  chosen?: number;
  onChoose?: (index: number) => void;
  muted?: boolean;
}

/** Positions of probabilities, the largest first. */
export function byProbability(probabilities: readonly number[]): number[] {
  return probabilities.map((_, i) => i).sort((i, j) => probabilities[j] - probabilities[i]);
}

export function Bars({ classes, probabilities, chosen, onChoose, muted = false }: Props) {
  return (
    <ol class={`bars ${muted ? "bars-muted" : ""}`} data-testid="bars">
      {byProbability(probabilities).map((i) => {
        const content = (
          <>
            <span class="bar-name">
              {className(classes[i])}
              {classes[i].malignant === true && <span class="tag">{t("malignant")}</span>}
            </span>
            <span class="bar-value">{percent(probabilities[i])}</span>
            <span class={`bar-track ${classes[i].malignant === true ? "bar-malignant" : ""}`}>
              <span class="bar-fill" style={{ "--fraction": probabilities[i] }} />
            </span>
          </>
        );
        return (
          <li key={classes[i].code} data-code={classes[i].code} data-probability={probabilities[i]}>
            {onChoose ? (
              <button type="button" class="bar" aria-pressed={chosen === i} onClick={() => onChoose(i)}>
                {content}
              </button>
            ) : (
              <div class="bar">{content}</div>
            )}
          </li>
        );
      })}
    </ol>
  );
}

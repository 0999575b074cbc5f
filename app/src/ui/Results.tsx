/** What stands beneath the verdict: classes that remain, bars, the line, and what the model knows. */

import type { Hint } from "../core/quality";
import type { Spec } from "../core/spec";
import { isAnswer } from "../core/verdict";
import { type ClassNames, className, t } from "../i18n";
import { chooseOperatingPoint, operatingPoint } from "../state/operating";
import type { Answer } from "../state/session";
import { Bars } from "./Bars";
import { Beside } from "./Beside";
import { Chips } from "./Chips";
import { Icon } from "./icons";
import { MalignantProbability } from "./MalignantProbability";
import { Questions } from "./Questions";
import { HINTS } from "./Verdict";

export function Hints({ hints }: { hints: readonly Hint[] }) {
  if (hints.length === 0) return null;
  return (
    <ul class="hints" data-testid="hints">
      {hints.map((hint) => (
        <li key={hint.key} data-hint={hint.key}>
          <Icon name="info" />
          {t(HINTS[hint.key])}
        </li>
      ))}
    </ul>
  );
}

/** Which diseases the model knows, and that others exist. */
export function Knows({ classes }: { classes: readonly ClassNames[] }) {
  return (
    <p class="small" data-testid="knows">
      {t("knows", { count: classes.length, names: classes.map(className).join(t("listComma")) })}
    </p>
  );
}

/** What the bundle does not carry, and so cannot be relied on. */
function NotCarried({ spec: { domain, abstention } }: { spec: Spec }) {
  return (
    <>
      {domain === "not stated" && (
        <p class="small" data-testid="not-stated">
          {t("madeForNotStated")}
        </p>
      )}
      {abstention === null && (
        <p class="small" data-testid="never-abstains">
          {t("neverAbstains")}
        </p>
      )}
    </>
  );
}

interface Props {
  answer: Answer;
  spec: Spec;
  hints: readonly Hint[];
  chosen: number;
  onChoose: (index: number) => void;
}

export function Results({ answer, spec, hints, chosen, onChoose }: Props) {
  const muted = !isAnswer(answer.verdict);
  return (
    <div class="results" data-testid="results">
      {answer.set !== null && spec.conformal !== null && !muted && (
        <Chips classes={answer.set.map((i) => spec.classes[i])} coverage={spec.conformal.coverage} />
      )}
      {answer.counted + answer.leftOut > 1 && (
        <p class="small" data-testid="averaged">
          {t(answer.leftOut > 0 ? "meanWithout" : "meanOf", { count: answer.counted, left: answer.leftOut })}
        </p>
      )}
      <Hints hints={hints} />
      {muted && <p class="small">{t("notAnAnswer")}</p>}
      <Bars
        classes={spec.classes}
        probabilities={answer.probabilities}
        chosen={chosen}
        onChoose={onChoose}
        muted={muted}
      />
      {answer.malignant !== null && !muted && (
        <MalignantProbability
          probability={answer.malignant}
          points={spec.operating_points}
          chosen={operatingPoint(spec)}
          onChoose={chooseOperatingPoint}
        />
      )}
      <Beside spec={spec} />
      <Questions />
      <Knows classes={spec.classes} />
      <NotCarried spec={spec} />
    </div>
  );
}

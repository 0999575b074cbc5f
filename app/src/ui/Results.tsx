/** The answer about a lesion: what it looks most like, or why that cannot be told. */

import type { Hint } from "../core/quality";
import type { Spec } from "../core/spec";
import { argmax } from "../core/probabilities";
import { className, percent, t } from "../i18n";
import { chooseOperatingPoint, operatingPoint } from "../state/operating";
import type { Answer } from "../state/session";
import { Bars } from "./Bars";
import { Icon } from "./icons";
import { MalignantShare } from "./MalignantShare";

const HINTS = { dark: "hintDark", bright: "hintBright", blurred: "hintBlurred", flat: "hintFlat" } as const;

const REASONS = { ...HINTS, unlike: "reasonUnlike" } as const;

function reasonsInWords(answer: Answer): string[] {
  return answer.reasons.map((reason) => t(REASONS[reason.key]));
}

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

/** The answer in one sentence, for screen readers to say when it comes. */
export function answerInWords(answer: Answer, spec: Spec): string {
  if (answer.abstained) return `${t("cannotTell")}: ${reasonsInWords(answer).join(" ")}`;
  const top = argmax(answer.probabilities);
  return `${t("looksLike")} ${className(spec.classes[top])}, ${percent(answer.probabilities[top])}. ${t("noticeShort")}`;
}

function Headline({ answer, spec }: { answer: Answer; spec: Spec }) {
  if (answer.abstained) {
    return (
      <div class="headline headline-unsure" data-testid="abstained">
        <h2>{t("cannotTell")}</h2>
        {reasonsInWords(answer).map((text) => (
          <p key={text}>{text}</p>
        ))}
      </div>
    );
  }
  const top = argmax(answer.probabilities);
  return (
    <div class="headline" data-testid="headline" data-code={spec.classes[top].code}>
      <p class="eyebrow">{t("looksLike")}</p>
      <h2>
        {className(spec.classes[top])} <span class="headline-value">{percent(answer.probabilities[top])}</span>
      </h2>
    </div>
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
  return (
    <div class="results" data-testid="results">
      <Headline answer={answer} spec={spec} />
      <p class="disclaimer">
        <Icon name="info" />
        {t("noticeShort")}
      </p>
      {answer.counted + answer.leftOut > 1 && (
        <p class="small" data-testid="averaged">
          {t(answer.leftOut > 0 ? "meanWithout" : "meanOf", { count: answer.counted, left: answer.leftOut })}
        </p>
      )}
      <Hints hints={hints} />
      {answer.abstained && <p class="small">{t("notAnAnswer")}</p>}
      <Bars
        classes={spec.classes}
        probabilities={answer.probabilities}
        chosen={chosen}
        onChoose={onChoose}
        muted={answer.abstained}
      />
      {answer.set !== null && spec.conformal !== null && !answer.abstained && (
        <p class="small" data-testid="prediction-set">
          {t(answer.set.length === 0 ? "setEmpty" : "setOf", {
            coverage: percent(spec.conformal.coverage),
            names: answer.set.map((i) => className(spec.classes[i])).join(t("listComma")),
          })}
        </p>
      )}
      {answer.malignant !== null && !answer.abstained && (
        <MalignantShare
          share={answer.malignant}
          points={spec.operating_points}
          chosen={operatingPoint(spec)}
          onChoose={chooseOperatingPoint}
        />
      )}
    </div>
  );
}

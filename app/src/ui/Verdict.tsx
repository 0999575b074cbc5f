/** A verdict in words, colour and shape. Everything that shows a result shows it with what is here. */

import type { Known } from "../core/metadata";
import type { ClassSpec } from "../core/spec";
import { isAnswer, type PredictiveValues, type Verdict } from "../core/verdict";
import type { Modality, Reason } from "../core/abstention";
import type { Visit } from "../notebook/types";
import { besideOf, earlierAlarm, type Answered } from "../notebook/verdict";
import { className, dayText, finePercent, partName, percent, sexName, t } from "../i18n";
import type { TextKey } from "../i18n/en";

export const HINTS = { dark: "hintDark", bright: "hintBright", blurred: "hintBlurred", flat: "hintFlat" } as const;
const REASONS = { ...HINTS, unlike: "reasonUnlike" } as const;
const LOOKS = {
  dermoscopy: "looksDermoscopy",
  clinical: "looksClinical",
  other: "looksOther",
} as const satisfies Record<Modality, TextKey>;

const TITLES = { above: "verdictAbove", below: "verdictBelow", unsure: "cannotTell" } as const;
const SHORT = { above: "verdictAboveShort", below: "verdictBelowShort", unsure: "cannotTell" } as const;
const DOUBTS = {
  otherKind: "doubtOtherKind",
  noMalignancy: "doubtNoMalignancy",
  noLine: "doubtNoLine",
  disagree: "doubtDisagree",
  different: "doubtDifferent",
  concern: "doubtConcern",
} as const satisfies Record<string, TextKey>;

export const CONCERN_NAMES = {
  new: "concernNew",
  growing: "concernGrowing",
  changing: "concernChanging",
  bleeding: "concernBleeding",
  itching: "concernItching",
  ugly: "concernUgly",
} as const;

/** What a verdict is about: the malignant probability and the line it is held against. */
export interface Facts {
  malignant: number | null;
  point: { threshold: number; sensitivity?: number; specificity?: number } | null;
  /** Age, sex and site, and the malignant probability before and after them; null where they said nothing. */
  beside?: { known: Known; alone: number | null; both: number | null } | null;
  /** The prediction set; null where the model has none. */
  set?: { classes: readonly ClassSpec[]; coverage: number } | null;
  /** What the line says at the prevalence that the person stated. */
  values?: PredictiveValues | null;
}

/** The facts of a visit as it was kept. */
export function visitFacts(visit: Visit): Facts {
  const { malignant, operatingPoint, values } = visit;
  return { malignant, point: operatingPoint, values: values ?? null, beside: besideOf(visit), set: visitSet(visit) };
}

/** The prediction set of a visit as it was kept. */
export function visitSet({ set, classes }: Visit): NonNullable<Facts["set"]> | null {
  const classOf = (code: string): ClassSpec[] => classes.filter((label) => label.code === code);
  return set ? { classes: set.codes.flatMap(classOf), coverage: set.coverage } : null;
}

export function verdictTitle(verdict: Verdict): string {
  return t(TITLES[verdict.kind]);
}

/** Age, sex and site as a list, such as "age 64, back". */
function knownInWords({ age, sex, site }: Known): string {
  const words = [age && t("ageIs", { age }), sex && sexName(sex), site && partName(site)];
  return words.filter(Boolean).join(t("listComma"));
}

function reasonText(reason: Reason): string {
  return t(reason.kind ? LOOKS[reason.kind] : REASONS[reason.key]);
}

/** Why, and what the line misses: one sentence an entry. */
export function verdictSentences(verdict: Verdict, { malignant, point, values, beside, set }: Facts): string[] {
  const sentences: string[] = [];
  const line = point !== null && malignant !== null;
  if (verdict.kind === "unsure") {
    if (verdict.doubt === "abstained") sentences.push(...verdict.reasons.map(reasonText));
    else sentences.push(t(DOUBTS[verdict.doubt]));
  } else if (line) {
    const numbers = { probability: percent(malignant), threshold: finePercent(point.threshold) };
    sentences.push(t(verdict.kind === "above" ? "verdictAboveText" : "verdictBelowText", numbers));
    if (verdict.kind === "above" && verdict.disagree) sentences.push(t("aboveDisagree"));
  }
  const remaining = set?.classes.filter((label) => label.malignant === true) ?? [];
  if (verdict.kind === "below" && set && remaining.length > 0) {
    const names = remaining.map(className).join(t("listComma"));
    sentences.push(t("malignantRemain", { coverage: percent(set.coverage), names }));
  }
  if (verdict.kind !== "below" && verdict.concerns.length > 0) {
    const answers = verdict.concerns.map((concern) => t(CONCERN_NAMES[concern])).join(t("listComma"));
    sentences.push(t("concernsSay", { answers }));
  }
  if (beside && beside.alone !== null && beside.both !== null && isAnswer(verdict)) {
    const [alone, both] = [percent(beside.alone), percent(beside.both)];
    sentences.push(t("besideSays", { known: knownInWords(beside.known), alone, both }));
  }
  const lineHolds = verdict.kind !== "unsure" || verdict.doubt === "disagree" || verdict.doubt === "concern";
  if (lineHolds && point?.sensitivity !== undefined && point.specificity !== undefined) {
    const [missed, alarms] = [countIn(100, 1 - point.sensitivity), countIn(100, 1 - point.specificity)];
    sentences.push(t("lineMisses", { missed, alarms }));
  }
  if (values && verdict.kind !== "unsure") {
    const prevalence = finePercent(values.prevalence);
    if (verdict.kind === "above") {
      sentences.push(t("malignantAbove", { prevalence, count: countOf(100, values.ppv) }));
    } else {
      const { value, low, high } = values.npv;
      const rest = (fraction: number | null): number | null => (fraction === null ? null : 1 - fraction);
      const malignantOnes = { value: 1 - value, low: rest(high), high: rest(low) };
      sentences.push(t("malignantBelow", { prevalence, count: countOf(1000, malignantOnes) }));
    }
  }
  return sentences;
}

/** A fraction as so many of `total`; few, but not none, are not called none, nor nearly all all. */
function countIn(total: number, fraction: number): string {
  const count = Math.round(total * fraction);
  const exact = Number((total * fraction).toFixed(9)); // 1 - 0.9 is not quite 0.1
  if (count === 0 && exact > 0) return "<1";
  return count === total && exact < total ? `>${total - 1}` : String(count);
}

/** The same with its interval. */
function countOf(total: number, { value, low, high }: PredictiveValues["ppv"]): string {
  const range = low === null || high === null ? "" : ` (${countIn(total, low)}–${countIn(total, high)})`;
  return countIn(total, value) + range;
}

/** The verdict in one piece, for screen readers to say when it comes; `differ`: of photographs of different lesions. */
export function verdictInWords(verdict: Verdict, facts: Facts, differ = false): string {
  const warning = differ ? [t("photosDiffer")] : [];
  return [`${verdictTitle(verdict)}.`, ...verdictSentences(verdict, facts), ...warning, t("noticeShort")].join(" ");
}

/** The shape: a triangle over the line, a ring under it, a question in a diamond. */
export function VerdictMark({ kind }: { kind: Verdict["kind"] }) {
  return (
    <svg class={`verdict-mark verdict-mark-${kind}`} viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      {kind === "above" && <path d="M12 2.5l6.5 12h-13ZM3 20h18" />}
      {kind === "below" && <path d="M3 4h18M12 9.5a5.5 5.5 0 1 0 0 11a5.5 5.5 0 1 0 0-11" />}
      {kind === "unsure" && (
        <path d="M12 1.5L22.5 12L12 22.5L1.5 12ZM9.7 9.7a2.3 2.3 0 1 1 3.3 2c-.7.4-1 .8-1 1.6M12 16.4v.2" />
      )}
    </svg>
  );
}

/** That a lesion whose last answer is not above the line was above it before. */
export function EarlierAlarm({ visits }: { visits: readonly Answered[] }) {
  const day = earlierAlarm(visits);
  return (
    day && (
      <span class="verdict-line verdict-line-above" data-testid="earlier-alarm">
        <VerdictMark kind="above" />
        {t("earlierAbove", { date: dayText(day) })}
      </span>
    )
  );
}

/** What leads an answer. */
export function VerdictBanner({ verdict, facts }: { verdict: Verdict; facts: Facts }) {
  return (
    <div class={`verdict verdict-${verdict.kind}`} data-testid="verdict" data-kind={verdict.kind}>
      <VerdictMark kind={verdict.kind} />
      <div>
        <h2 tabIndex={-1}>{verdictTitle(verdict)}</h2>
        {verdictSentences(verdict, facts).map((sentence) => (
          <p key={sentence}>{sentence}</p>
        ))}
      </div>
    </div>
  );
}

/** The verdict on a card or beneath a photograph. */
export function VerdictLine({ verdict, short = false }: { verdict: Verdict; short?: boolean }) {
  return (
    <span class={`verdict-line verdict-line-${verdict.kind}`} data-testid="verdict-line" data-kind={verdict.kind}>
      <VerdictMark kind={verdict.kind} />
      {t((short ? SHORT : TITLES)[verdict.kind])}
    </span>
  );
}

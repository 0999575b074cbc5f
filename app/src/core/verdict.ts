/** The verdict about a lesion. Headline, screen reader, notebook and print all show what `decide` says. */

import { argmax } from "./probabilities";
import type { Domain, Spec } from "./spec";
import type { Modality, Reason } from "./abstention";

/** What a person can answer about the lesion. Each answer can raise concern; none can lower it. */
export const CONCERNS = ["new", "growing", "changing", "bleeding", "itching", "ugly"] as const;
export type Concern = (typeof CONCERNS)[number];

/** How photographs are taken. */
export const CAPTURES = ["dermatoscope", "camera"] as const;
export type Capture = (typeof CAPTURES)[number];

/** The kind of photograph that each way of taking it gives. */
export const DOMAIN_OF = { dermatoscope: "dermoscopy", camera: "clinical" } as const satisfies Record<Capture, Domain>;

/** Why there is no verdict. */
export type Doubt =
  /** The model was made for another kind of photograph. */
  | "otherKind"
  /** The model abstains; `Verdict.reasons` says why. */
  | "abstained"
  /** The model does not say of each class whether it is malignant. */
  | "noMalignancy"
  /** The model has no operating point. */
  | "noLine"
  /** Some photographs are above the line, their mean is below it. */
  | "disagree"
  /** The photographs look like different lesions. */
  | "different"
  /** Below the line, but what the person answered is a reason for concern. */
  | "concern";

export type Verdict =
  /** `disagree`: some photographs are below the line. */
  | { kind: "above"; concerns: readonly Concern[]; disagree?: true }
  | { kind: "below" }
  | { kind: "unsure"; doubt: Doubt; reasons: readonly Reason[]; concerns: readonly Concern[] };

export interface Evidence {
  /** Summed probability of the malignant classes, the mean over the photographs; null where that is not known. */
  malignant: number | null;
  /** The same of each photograph on which the model does not abstain. */
  each: readonly (number | null)[];
  /** The photographs look like different lesions. */
  differ?: boolean;
  /** Threshold on the malignant probability; null where the model has none. */
  threshold: number | null;
  abstained: boolean;
  reasons: readonly Reason[];
  concerns: readonly Concern[];
  /** What the model was made for; null where that is not known. */
  madeFor: Domain | null;
  /** How the photographs were taken; null where that is not known. */
  taken: Capture | null;
}

/** Whether a model gets the kind of photograph it was made for, as far as that is known. Drawn images are of any kind. */
export function fits(madeFor: Domain | null, taken: Capture | null): boolean {
  if (taken === null || madeFor === null || madeFor === "phantom" || madeFor === "not stated") return true;
  return madeFor === DOMAIN_OF[taken];
}

/** Whether a malignant probability lies above a line; on the line is above it, as in validation. */
export function isAbove(malignant: number, threshold: number): boolean {
  return malignant >= threshold;
}

/**
 * Decide what is said about a lesion: above the line for malignant classes, below it, or can't tell.
 *
 * "Below" is said only if the mean and every photograph are below the line, the photographs look like one lesion, and
 * nothing the person answered is a reason for concern. The most probable class plays no part: a benign class can lead
 * where the malignant ones together are above the line.
 */
export function decide(evidence: Evidence): Verdict {
  const { malignant, threshold, reasons, concerns } = evidence;
  const unsure = (doubt: Doubt): Verdict => ({ kind: "unsure", doubt, reasons, concerns });
  if (!fits(evidence.madeFor, evidence.taken)) return unsure("otherKind");
  if (evidence.abstained) return unsure("abstained");
  if (malignant === null) return unsure("noMalignancy");
  if (threshold === null) return unsure("noLine");
  if (isAbove(malignant, threshold)) {
    const disagree = evidence.each.some((one) => one !== null && !isAbove(one, threshold));
    return { kind: "above", concerns, ...(disagree && { disagree }) };
  }
  if (evidence.each.some((one) => one !== null && isAbove(one, threshold))) return unsure("disagree");
  if (evidence.differ) return unsure("different");
  if (concerns.length > 0) return unsure("concern");
  return { kind: "below" };
}

/** How photographs of a kind are taken; undefined for drawn images and other pictures. */
export function takenAs(kind: Domain | Modality | null): Capture | undefined {
  return CAPTURES.find((taken) => DOMAIN_OF[taken] === kind);
}

/** How the photographs seem to be taken, where the model abstains since they are of another kind than its own. */
export function seemsTaken(verdict: Verdict): Capture | undefined {
  if (verdict.kind !== "unsure" || verdict.doubt !== "abstained") return undefined;
  return verdict.reasons.map(({ kind }) => takenAs(kind ?? null)).find((taken) => taken !== undefined);
}

const NO_ANSWER: ReadonlySet<Doubt> = new Set(["abstained", "otherKind", "different"]);

/** Whether the model's figures are an answer about the lesion, also where there is no verdict. */
export function isAnswer(verdict: Verdict): boolean {
  return verdict.kind !== "unsure" || !NO_ANSWER.has(verdict.doubt);
}

/** How much concern a verdict raises, for showing and comparing: below, can't tell, above. */
export function concernOf(verdict: Verdict): 0 | 1 | 2 {
  return verdict.kind === "below" ? 0 : verdict.kind === "unsure" ? 1 : 2;
}

type Estimate = Spec["metrics"][string][string];

/** What a line says of a lesion where a stated share of all lesions is malignant. */
export interface PredictiveValues {
  prevalence: number;
  /** Of the lesions above the line, the share that is malignant. */
  ppv: Estimate;
  /** Of the lesions below the line, the share that is benign. */
  npv: Estimate;
}

/**
 * The predictive values of an operating point, by Bayes' rule from its rates on the test part: `Spec.predictive_values`
 * in Python. Null where the bundle has no such rates, or nothing would be above the line or below it.
 */
export function predictiveValues(spec: Spec, point: string, prevalence: number): PredictiveValues | null {
  const { sensitivity, specificity } = spec.metrics[`test at ${point}`] ?? {};
  const isRate = (rate: Estimate | undefined): rate is Estimate =>
    rate !== undefined && rate.value >= 0 && rate.value <= 1;
  if (!isRate(sensitivity) || !isRate(specificity)) return null;
  // Both values grow with either rate: the ends of their intervals come from the ends of both.
  const at = (end: keyof Estimate): [number, number] | null => {
    const [found, spared] = [sensitivity[end], specificity[end]];
    if (found === null || spared === null) return null;
    const [sick, well] = [prevalence, 1 - prevalence];
    return [
      (found * sick) / (found * sick + (1 - spared) * well),
      (spared * well) / (spared * well + (1 - found) * sick),
    ];
  };
  const [value, low, high] = [at("value")!, at("low"), at("high")];
  if (!value.every(Number.isFinite)) return null;
  const estimate = (i: 0 | 1): Estimate => ({ value: value[i], low: low?.[i] ?? null, high: high?.[i] ?? null });
  return { prevalence, ppv: estimate(0), npv: estimate(1) };
}

/** A class this probable counts as what a photograph shows, where the model has no prediction sets. */
const SURE = 0.7;

interface Seen {
  probabilities: readonly number[];
  /** Positions of the classes in the prediction set; null where the model has none. */
  set: readonly number[] | null;
}

/**
 * Whether photographs look like different lesions: two of them share no class of their prediction sets, or, without
 * sets, show different classes with a probability above 0.7 each.
 */
export function looksDifferent(photos: readonly Seen[]): boolean {
  return photos.some((a, i) => photos.slice(i + 1).some((b) => apart(a, b)));
}

function apart(a: Seen, b: Seen): boolean {
  const other = b.set;
  if (a.set !== null && other !== null && a.set.length > 0 && other.length > 0) {
    return !a.set.some((i) => other.includes(i));
  }
  const [topA, topB] = [argmax(a.probabilities), argmax(b.probabilities)];
  return topA !== topB && a.probabilities[topA] > SURE && b.probabilities[topB] > SURE;
}

/** From logits to what is said: calibrated probabilities, the malignant probability, prediction sets. */

import type { ClassSpec, Spec } from "./spec";

/** Temperature-scaled softmax, in float64: (K,) -> (K,). */
export function softmax(logits: ArrayLike<number>, temperature: number): number[] {
  const scaled = Array.from(logits, (logit) => logit / temperature);
  const top = Math.max(...scaled);
  const powers = scaled.map((value) => Math.exp(value - top));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}

/** Position of the largest value; the first of equals. */
export function argmax(values: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}

/** Element-wise mean of several probability vectors. */
export function meanOf(vectors: readonly (readonly number[])[]): number[] {
  return vectors[0].map((_, i) => vectors.reduce((sum, vector) => sum + vector[i], 0) / vectors.length);
}

/** Summed probability of the malignant classes; null where that is not known of every class. */
export function malignantProbability(probabilities: readonly number[], classes: readonly ClassSpec[]): number | null {
  if (classes.some((label) => label.malignant === null)) return null;
  return probabilities.reduce((sum, p, i) => (classes[i].malignant === true ? sum + p : sum), 0);
}

/** Split-conformal prediction set: positions of the classes whose probability reaches `1 - quantile` of theirs. */
export function predictionSet(probabilities: readonly number[], spec: Spec): number[] | null {
  if (spec.conformal === null) return null;
  const { quantiles } = spec.conformal;
  const members = spec.classes
    .map((_, i) => i)
    .filter((i) => probabilities[i] >= 1 - (quantiles[spec.classes[i].code] ?? 1));
  return members.sort((i, j) => probabilities[j] - probabilities[i]);
}

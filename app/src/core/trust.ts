/** When to answer "can't tell": the out-of-distribution score of the bundle against its threshold. */

import { AppError } from "./errors";
import type { Spec } from "./spec";

/** Why the answer is "can't tell" (`reasons` of the translations). */
export interface Reason {
  key: "unlike";
  score: number;
  threshold: number;
}

/** Reasons to abstain from an answer with these logits (K,) and this embedding (D,); empty where it stands. */
export type Scorer = (logits: ArrayLike<number>, embedding: ArrayLike<number>) => Reason[];

/** Free energy, `-T log sum exp(logits / T)` (Liu et al., NeurIPS 2020): high where no class has support. */
export function energy(logits: ArrayLike<number>, temperature = 1): number {
  const values = Array.from(logits, (logit) => logit / temperature);
  const top = Math.max(...values);
  return -temperature * (top + Math.log(values.reduce((sum, value) => sum + Math.exp(value - top), 0)));
}

/**
 * The scorer that a bundle asks for.
 *
 * @throws AppError: a score that this app does not know
 */
export function createScorer(spec: Spec): Scorer {
  const { abstention } = spec;
  if (abstention === null) return () => [];
  if (abstention.score !== "energy") throw new AppError("bundleNewScore", { score: abstention.score });
  return (logits) => {
    const score = energy(logits);
    return score > abstention.threshold ? [{ key: "unlike", score, threshold: abstention.threshold }] : [];
  };
}

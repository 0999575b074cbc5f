/** When to answer "can't tell": an image of poor quality, or one unlike those the model learned from. */

import { type Fault, findFault, type Hint, measureQuality } from "./quality";
import { argmax } from "./probabilities";
import type { Spec } from "./spec";

/** Kinds of pictures, in the order of the graph's output `modality`: `MODALITIES` of `lentigo.bundle`. */
export const MODALITIES = ["dermoscopy", "other", "clinical"] as const;
export type Modality = (typeof MODALITIES)[number];

/** The most probable kind of a graph's output `modality`; null where it has none. */
export function modalityOf(logits: ArrayLike<number> | null): Modality | null {
  return logits === null ? null : MODALITIES[argmax(logits)];
}

/** Why the answer is "can't tell". */
export interface Reason {
  key: Fault | "unlike";
  /** Of `unlike`: the graph's atypicality and the bundle's threshold. */
  score?: number;
  threshold?: number;
  /** Of `unlike`: what the image looks like, where that is another kind of picture than the model's. */
  kind?: Modality;
}

export interface Assessment {
  reasons: Reason[];
  hints: Hint[];
}

/**
 * Reasons to abstain, and hints, as `lentigo.inference.verdict` finds them.
 *
 * @param atypicality of the graph; null where it has no such output
 * @param modality of the graph, one logit a kind; null where it has no such output
 * @param pixels (size, size, 3) uint8, what the network saw
 */
export function assess(
  spec: Spec,
  { atypicality, modality }: { atypicality: number | null; modality: ArrayLike<number> | null },
  pixels: Uint8Array,
): Assessment {
  const { size } = spec.input;
  const quality = measureQuality(pixels, size);
  const reasons: Reason[] = [];
  const hints: Hint[] = [];
  const refused = findFault(quality, size, "refuse");
  const noted = findFault(quality, size, "hint");
  if (refused !== null) reasons.push({ key: refused });
  else if (noted !== null) hints.push({ key: noted });
  if (spec.abstention !== null && atypicality !== null && atypicality > spec.abstention.threshold) {
    const kind = modalityOf(modality);
    const another = kind !== spec.domain && (spec.domain === "dermoscopy" || spec.domain === "clinical");
    const { threshold } = spec.abstention;
    reasons.push({ key: "unlike", score: atypicality, threshold, ...(kind !== null && another && { kind }) });
  }
  return { reasons, hints };
}

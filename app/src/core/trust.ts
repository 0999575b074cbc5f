/** When to answer "can't tell": an image that cannot be judged, or one unlike those the model learned from. */

import { type Fault, findFault, type Hint, measureQuality } from "./quality";
import type { Spec } from "./spec";

/** Why the answer is "can't tell". */
export interface Reason {
  key: Fault | "unlike";
  /** Of `unlike`: the graph's atypicality and the bundle's threshold. */
  score?: number;
  threshold?: number;
}

export interface Verdict {
  reasons: Reason[];
  hints: Hint[];
}

/**
 * Reasons to abstain, and hints, as `lentigo.inference.verdict` finds them.
 *
 * @param atypicality of the graph; null where it has no such output
 * @param pixels (size, size, 3) uint8, what the network saw
 */
export function judge(spec: Spec, atypicality: number | null, pixels: Uint8Array): Verdict {
  const { size } = spec.input;
  const quality = measureQuality(pixels, size);
  const reasons: Reason[] = [];
  const hints: Hint[] = [];
  const refused = findFault(quality, size, "refuse");
  const noted = findFault(quality, size, "hint");
  if (refused !== null) reasons.push({ key: refused });
  else if (noted !== null) hints.push({ key: noted });
  if (spec.abstention !== null && atypicality !== null && atypicality > spec.abstention.threshold) {
    reasons.push({ key: "unlike", score: atypicality, threshold: spec.abstention.threshold });
  }
  return { reasons, hints };
}

/** The verdict about a kept visit: decided from what was kept, by the same rule as when it was new. */

import { malignantShare } from "../core/probabilities";
import { decide, type Evidence, type Verdict } from "../core/verdict";
import type { Visit } from "./types";

/** What the verdict is decided from; null where no model was asked. */
export function evidenceOf(visit: Visit): Evidence | null {
  if (visit.model === null || visit.classes.length === 0) return null;
  const trusted = visit.photos.filter((photo) => photo.reasons.length === 0);
  return {
    malignant: visit.malignant,
    each: trusted.map((photo) => malignantShare(photo.probabilities, visit.classes)),
    threshold: visit.operatingPoint?.threshold ?? null,
    abstained: visit.abstained,
    reasons: visit.abstained ? (visit.photos.at(0)?.reasons ?? []) : [],
    concerns: visit.concerns ?? [],
    madeFor: visit.domain ?? null,
    taken: visit.taken ?? null,
  };
}

export function visitVerdict(visit: Visit): Verdict | null {
  const evidence = evidenceOf(visit);
  return evidence && decide(evidence);
}

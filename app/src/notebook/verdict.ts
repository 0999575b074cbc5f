/** The verdict about a kept visit: decided from what was kept, by the same rule as when it was new. */

import { heldOf, type Known, reweigh } from "../core/metadata";
import { malignantProbability, meanOf } from "../core/probabilities";
import { decide, type Evidence, type Verdict } from "../core/verdict";
import type { Visit } from "./types";

const answeredOf = (visit: Visit): Visit["photos"] => visit.photos.filter((photo) => photo.reasons.length === 0);

/** The malignant probability before and after age, sex and site; null where these said nothing. */
export function besideOf(visit: Visit): { known: Known; alone: number | null; both: number | null } | null {
  const answered = answeredOf(visit).map((photo) => photo.probabilities);
  if (visit.beside === undefined || answered.length === 0) return null;
  const { known, ratios } = visit.beside;
  const alone = malignantProbability(meanOf(answered), visit.classes);
  return {
    known,
    alone,
    both: malignantProbability(meanOf(answered.map((one) => reweigh(one, ratios))), visit.classes),
  };
}

/** What the verdict is decided from; null where no model was asked. */
export function evidenceOf(visit: Visit): Evidence | null {
  if (visit.model === null || visit.classes.length === 0) return null;
  const answered = answeredOf(visit);
  const ratios = visit.beside?.ratios ?? null;
  return {
    malignant: visit.malignant,
    each: answered.map((photo) => heldOf(photo.probabilities, ratios, visit.classes)),
    ...(visit.differ && { differ: true }),
    threshold: visit.operatingPoint?.threshold ?? null,
    abstained: visit.abstained,
    reasons: visit.abstained ? (visit.photos.at(0)?.reasons ?? []) : [],
    concerns: visit.concerns ?? [],
    madeFor: visit.domain ?? null,
    taken: visit.taken ?? null,
  };
}

/** A date with what its verdict is decided from. */
export interface Answered {
  date: string;
  evidence: Evidence | null;
}

/** The last day above the line before the last answer, where that is not above it; null where there is none. */
export function earlierAlarm(visits: readonly Answered[]): string | null {
  const answered = visits.flatMap(({ date, evidence }) => (evidence ? [{ date, kind: decide(evidence).kind }] : []));
  if (answered.at(-1)?.kind === "above") return null;
  return answered.filter(({ kind }) => kind === "above").at(-1)?.date ?? null;
}

export const answersOf = (visits: readonly Visit[]): Answered[] =>
  visits.map((visit) => ({ date: visit.date, evidence: evidenceOf(visit) }));

export function visitVerdict(visit: Visit): Verdict | null {
  const evidence = evidenceOf(visit);
  return evidence && decide(evidence);
}

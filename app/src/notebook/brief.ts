/** The light index of the notebook: what lists count and search of a visit, without photographs and heat maps. */

import { argmax } from "../core/probabilities";
import type { Case, Visit } from "./types";

/** Kept beside the visit, and written in one transaction with it. Small, since lists read one for every visit. */
export interface VisitBrief {
  /** Of the visit. */
  id: string;
  caseId: string;
  date: string;
  created: string;
  /** What search looks through: note, model, most probable class. */
  words: string;
}

/** A case as lists show it. */
export interface CaseBrief extends Case {
  /** Oldest first. */
  visits: VisitBrief[];
}

export function briefOf(visit: Visit): VisitBrief {
  const { id, caseId, date, created, note, model } = visit;
  const best = visit.classes.at(argmax(visit.probabilities));
  const words = [note, model.title, best?.code, best?.en, best?.zh].filter(Boolean).join("\n");
  return { id, caseId, date, created, words };
}

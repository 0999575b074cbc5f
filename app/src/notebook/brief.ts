/** The light index of the notebook: what lists count, filter and search of a visit, without photographs and heat maps. */

import { argmax } from "../core/probabilities";
import type { Evidence } from "../core/verdict";
import type { Case, ModelStamp, Visit } from "./types";
import { evidenceOf } from "./verdict";

/** Written in one transaction with the visit. Small, since lists read one for every visit. */
export interface VisitBrief {
  /** Of the visit. */
  id: string;
  caseId: string;
  date: string;
  created: string;
  /** What search looks through: note, model, most probable class. */
  words: string;
  /** Evidence rather than a verdict, so that lists follow the rule as it is now; null where no model was asked. */
  evidence: Evidence | null;
  /** null where none was asked. */
  model: Pick<ModelStamp, "title" | "digest"> | null;
}

/** Briefs of some cases in one record, as text: the database takes its time by the record and by the object. */
export interface Shard {
  number: number;
  /** What its briefs hold; those of another version are made anew. */
  version: typeof BRIEFS_VERSION;
  text: string;
}

/** 2: evidence tells of photographs that look like different lesions. */
export const BRIEFS_VERSION = 2;

export const briefsIn = (shard: Shard | undefined): VisitBrief[] =>
  shard?.version === BRIEFS_VERSION ? (JSON.parse(shard.text) as VisitBrief[]) : [];

export const SHARDS = 64;

/** Where the briefs of a case are. */
export function shardOf(caseId: string): number {
  let sum = 0;
  for (let i = 0; i < caseId.length; i++) sum = (31 * sum + caseId.charCodeAt(i)) >>> 0;
  return sum % SHARDS;
}

/** A case as lists show it. */
export interface CaseBrief extends Case {
  /** Oldest first. */
  visits: VisitBrief[];
}

export function briefOf(visit: Visit): VisitBrief {
  const { id, caseId, date, created, note, model } = visit;
  const best = visit.classes.at(argmax(visit.probabilities));
  const names = best === undefined ? [] : [best.code, best.en, best.zh, ...Object.values(best.names ?? {})];
  const words = [note, model?.title, ...names].filter(Boolean).join("\n");
  const evidence = evidenceOf(visit);
  return {
    id,
    caseId,
    date,
    created,
    words,
    evidence: evidence && { ...evidence, reasons: [] },
    model: model && { title: model.title, digest: model.digest },
  };
}

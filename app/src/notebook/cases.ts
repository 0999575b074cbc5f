/** Reading and writing cases. Every change is one transaction: it happens whole or not at all. */

import { signal } from "@preact/signals";
import { AppError } from "../core/errors";
import { briefOf, type CaseBrief, type VisitBrief } from "./brief";
import { database, read, readAll, readEach, type StoreName, write, type Writing } from "./database";
import { type Merged, mergeCases } from "./merge";
import type { Case, Conflict, Visit } from "./types";
import { isWhole, whole } from "./whole";

export interface CaseWithVisits extends Case {
  /** Oldest first. */
  visits: Visit[];
}

/** Stores that every change of a visit writes to: the index follows in one transaction. */
const VISIT_STORES: ("cases" | "visits" | "briefs")[] = ["cases", "visits", "briefs"];

/** Grows whenever the notebook changes; pages that show it read it to be drawn again. */
export const revision = signal(0);

/** Write to the notebook in one transaction, and draw anew what shows it. */
export async function change<Name extends StoreName>(
  stores: Name[],
  work: (transaction: Writing<Name>) => Promise<void>,
): Promise<void> {
  await write(stores, work);
  revision.value += 1;
}

function sortVisits<Dated extends { date: string; created: string }>(visits: Dated[]): Dated[] {
  return visits.sort((a, b) => a.date.localeCompare(b.date) || a.created.localeCompare(b.created));
}

function groupVisits<Dated extends { caseId: string }>(visits: readonly Dated[]): Map<string, Dated[]> {
  const groups = new Map<string, Dated[]>();
  for (const visit of visits) {
    const group = groups.get(visit.caseId);
    if (group === undefined) groups.set(visit.caseId, [visit]);
    else group.push(visit);
  }
  return groups;
}

/** How many visits are indexed between two turns of the page. */
const INDEXED_AT_ONCE = 50;

/**
 * The index, made whole: visits that are not in it are added, those that are gone are taken out.
 *
 * A database of an earlier version has no index, and is read once. A visit that cannot be read stays out of it.
 */
async function readIndex(): Promise<VisitBrief[]> {
  const db = await database();
  const [briefs, count] = await Promise.all([db.getAll("briefs"), db.count("visits")]);
  if (briefs.length === count) return briefs;
  const keys = await db.getAllKeys("visits");
  const known = new Set(briefs.map(({ id }) => id));
  const kept = new Set(keys);
  const missing = keys.filter((key) => !known.has(key));
  const gone = briefs.filter(({ id }) => !kept.has(id));
  const added: VisitBrief[] = [];
  for (let i = 0; i < missing.length; i += INDEXED_AT_ONCE) {
    const { records } = await readEach("visit", missing.slice(i, i + INDEXED_AT_ONCE));
    added.push(...records.map(briefOf));
  }
  if (added.length + gone.length > 0) {
    await write(["briefs"], async (transaction) => {
      for (const brief of added) await transaction.objectStore("briefs").put(brief);
      for (const { id } of gone) await transaction.objectStore("briefs").delete(id);
    }).catch(() => undefined); // a full device: the index is made anew the next time
  }
  return [...briefs.filter(({ id }) => kept.has(id)), ...added];
}

export interface Listed {
  /** The one changed last first. */
  cases: CaseBrief[];
  /** Cases that cannot be shown. */
  damaged: number;
}

/** All cases with what lists show of them; no photograph is read. */
export function listCases(): Promise<Listed> {
  return read(async () => {
    const [{ records, damaged }, briefs] = await Promise.all([readAll("case"), readIndex()]);
    const byCase = groupVisits(briefs);
    const cases = records
      .map((one) => ({ ...one, visits: sortVisits(byCase.get(one.id) ?? []) }))
      .sort((a, b) => (a.updated < b.updated ? 1 : a.updated > b.updated ? -1 : 0));
    return { cases, damaged };
  });
}

/** A case, and how many of its visits are damaged and not among those given; these are left as they are. */
export interface Opened {
  one: CaseWithVisits;
  damaged: number;
}

/** @throws AppError: the case is damaged */
export function openCase(id: string): Promise<Opened | null> {
  return read(async (db) => {
    const [found, keys] = await Promise.all([db.get("cases", id), db.getAllKeysFromIndex("visits", "case", id)]);
    const one = whole("case", found);
    if (one === null) return null;
    const { records, damaged } = await readEach("visit", keys);
    return { one: { ...one, visits: sortVisits(records) }, damaged };
  });
}

/** @throws AppError: the case is damaged */
export async function readCase(id: string): Promise<CaseWithVisits | null> {
  return (await openCase(id))?.one ?? null;
}

/** Whole cases, for writing them to a file; also how many records could not be read. */
export async function readCases(ids: readonly string[]): Promise<{ cases: CaseWithVisits[]; damaged: number }> {
  const cases: CaseWithVisits[] = [];
  let damaged = 0;
  for (const id of ids) {
    try {
      const opened = await openCase(id);
      if (opened === null) continue; // deleted meanwhile
      cases.push(opened.one);
      damaged += opened.damaged;
    } catch (error) {
      if (!(error instanceof AppError && error.key === "recordDamaged")) throw error;
      damaged++;
    }
  }
  return { cases, damaged };
}

/** A visit with its photographs; null where it is gone or damaged. */
export function readVisit(id: string): Promise<Visit | null> {
  return read(async () => (await readEach("visit", [id])).records.at(0) ?? null);
}

async function putVisit(transaction: Writing<"cases" | "visits" | "briefs">, visit: Visit): Promise<void> {
  await transaction.objectStore("visits").put(visit);
  await transaction.objectStore("briefs").put(briefOf(visit));
}

/** Write a case together with a new visit of it. */
export function saveVisit(one: Case, visit: Visit): Promise<void> {
  return change(VISIT_STORES, async (transaction) => {
    await transaction.objectStore("cases").put(one);
    await putVisit(transaction, visit);
  });
}

export function saveCase(one: Case): Promise<void> {
  return change(["cases"], async (transaction) => {
    await transaction.objectStore("cases").put(one);
  });
}

/** Settle a conflict: take over what it says, or drop it. */
export function settleConflict({ visits, ...one }: CaseWithVisits, conflict: Conflict, use: boolean): Promise<void> {
  const rest = (one.conflicts ?? []).filter((other) => other !== conflict);
  const { conflicts: _, ...fields } = one;
  const own: Partial<Case> = use && conflict.visitId === undefined ? conflictFields(conflict) : {};
  const settled: Case = {
    ...fields,
    ...own,
    updated: new Date().toISOString(),
    ...(rest.length > 0 && { conflicts: rest }),
  };
  const visit = use ? visits.find(({ id }) => id === conflict.visitId) : undefined;
  if (visit === undefined) return saveCase(settled);
  return saveVisit(settled, { ...visit, note: conflict.note ?? visit.note });
}

function conflictFields({ title, site, note, clinical }: Conflict): Partial<Case> {
  return {
    ...(title !== undefined && { title }),
    ...(site !== undefined && { site }),
    ...(note !== undefined && { note }),
    ...(clinical !== undefined && { clinical }),
  };
}

export function deleteVisit(id: string): Promise<void> {
  return change(["visits", "briefs"], async (transaction) => {
    await transaction.objectStore("visits").delete(id);
    await transaction.objectStore("briefs").delete(id);
  });
}

export function deleteCase(id: string): Promise<void> {
  return change(VISIT_STORES, async (transaction) => {
    await transaction.objectStore("cases").delete(id);
    for (const key of await transaction.objectStore("visits").index("case").getAllKeys(id)) {
      await transaction.objectStore("visits").delete(key);
      await transaction.objectStore("briefs").delete(key);
    }
  });
}

export function deleteEverything(): Promise<void> {
  const stores: StoreName[] = [...VISIT_STORES, "patients", "sheets"];
  return change(stores, async (transaction) => {
    for (const name of stores) await transaction.objectStore(name).clear();
  });
}

/** Merge imported cases into the notebook: all of them or none. */
export async function mergeIntoNotebook(imported: readonly CaseWithVisits[]): Promise<Merged> {
  let merged: Merged = { added: 0, updated: 0, unchanged: 0, conflicts: 0 };
  // Read and written in one transaction, so that nothing written meanwhile in another tab is lost.
  await change(VISIT_STORES, async (transaction) => {
    const [cases, visits] = [transaction.objectStore("cases"), transaction.objectStore("visits")];
    const here: CaseWithVisits[] = [];
    for (const { id } of imported) {
      const one = await cases.get(id);
      const dates = await visits.index("case").getAll(id);
      // What is damaged here gives way to the whole one.
      if (isWhole("case", one)) here.push({ ...one!, visits: dates.filter((date) => isWhole("visit", date)) });
    }
    const result = mergeCases(here, imported);
    for (const { visits: dates, ...one } of result.changed) {
      await cases.put(one);
      for (const visit of dates) await putVisit(transaction, visit);
    }
    merged = result.merged;
  });
  return merged;
}

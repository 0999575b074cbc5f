/** Reading and writing cases. Every change is one transaction: it happens whole or not at all. */

import { signal } from "@preact/signals";
import { AppError } from "../core/errors";
import { mergePatients, mergeSheets } from "../patients/merge";
import type { Patient, Sheet } from "../patients/types";
import { BRIEFS_VERSION, briefOf, briefsIn, type CaseBrief, type Shard, shardOf, type VisitBrief } from "./brief";
import { database, read, readAll, readEach, type StoreName, write, type Writing } from "./database";
import { content, type Merged, mergeCases } from "./merge";
import type { Case, Conflict, Visit } from "./types";
import { isWhole, whole } from "./whole";

export interface CaseWithVisits extends Case {
  /** Oldest first. */
  visits: Visit[];
}

/** Stores that every change of a visit writes to: the index follows in one transaction. */
const VISIT_STORES: ("cases" | "visits" | "index")[] = ["cases", "visits", "index"];

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

/** How many visits are read between two words of progress, and how many are indexed in one transaction. */
const READ_AT_ONCE = 50;
const INDEXED_AT_ONCE = 1000;

/** How far the index has come while it is made; null where nothing is being indexed. */
export const indexing = signal<{ done: number; total: number } | null>(null);

let reading: { revision: number; index: Promise<VisitBrief[]> } | null = null;

/** The index, made whole once for all who ask before the notebook changes: what was read before a change is behind it. */
function readIndex(): Promise<VisitBrief[]> {
  const now = revision.peek();
  if (reading?.revision !== now) {
    const index = wholeIndex().finally(() => {
      if (reading?.index !== index) return;
      reading = null;
      indexing.value = null;
    });
    reading = { revision: now, index };
  }
  return reading.index;
}

/**
 * The index, made whole: visits that are not in it are added, those that are gone are taken out.
 *
 * A database of an earlier version has no such index, and is read once. A visit that cannot be read stays out of it.
 */
async function wholeIndex(): Promise<VisitBrief[]> {
  const db = await database();
  const [shards, count] = await Promise.all([db.getAll("index"), db.count("visits")]);
  const briefs = shards.flatMap(briefsIn);
  if (briefs.length === count) return briefs;
  const keys = await db.getAllKeys("visits");
  const known = new Set(briefs.map(({ id }) => id));
  const kept = new Set(keys);
  const missing = keys.filter((key) => !known.has(key));
  const gone = briefs.filter(({ id }) => !kept.has(id));
  const added: VisitBrief[] = [];
  if (gone.length > 0) await writeIndex([], gone);
  let unwritten: VisitBrief[] = [];
  for (let i = 0; i < missing.length; i += READ_AT_ONCE) {
    if (missing.length > READ_AT_ONCE) indexing.value = { done: i, total: missing.length };
    const { records } = await readEach("visit", missing.slice(i, i + READ_AT_ONCE));
    unwritten.push(...records.map(briefOf));
    if (unwritten.length < INDEXED_AT_ONCE && i + READ_AT_ONCE < missing.length) continue;
    await writeIndex(unwritten, []);
    added.push(...unwritten);
    unwritten = [];
  }
  return [...briefs.filter(({ id }) => kept.has(id)), ...added];
}

/** On a full device what cannot be written is made anew the next time. */
function writeIndex(put: readonly VisitBrief[], gone: readonly VisitBrief[]): Promise<void> {
  const work = write(["index"], (transaction) => index(transaction.objectStore("index"), put, gone));
  return work.catch(() => undefined);
}

interface IndexStore {
  get(number: number): Promise<Shard | undefined>;
  put(shard: Shard): Promise<unknown>;
}

/** Put visits into the index, in the place of what it says of them, and take others out. */
async function index(
  store: IndexStore,
  put: readonly VisitBrief[],
  gone: readonly Pick<VisitBrief, "id" | "caseId">[],
): Promise<void> {
  const changed = new Set([...put, ...gone].map(({ id }) => id));
  for (const number of new Set([...put, ...gone].map(({ caseId }) => shardOf(caseId)))) {
    const before = briefsIn(await store.get(number));
    const mine = put.filter(({ caseId }) => shardOf(caseId) === number);
    const briefs = [...before.filter(({ id }) => !changed.has(id)), ...mine];
    await store.put({ number, version: BRIEFS_VERSION, text: JSON.stringify(briefs) });
  }
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

/** The photograph of the last visit of a lesion. */
export async function lastPhotograph(caseId: string): Promise<Blob | null> {
  const one = await readCase(caseId);
  return one?.visits.flatMap(({ photos }) => photos.slice(0, 1)).at(-1)?.image ?? null;
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

async function putVisits(
  store: { put(visit: Visit): Promise<unknown> },
  briefs: IndexStore,
  visits: readonly Visit[],
): Promise<void> {
  for (const visit of visits) await store.put(visit);
  await index(briefs, visits.map(briefOf), []);
}

const now = (): string => new Date().toISOString();

/** A case one of whose dates is written; its own fields are as old as before. */
const touched = (one: Case): Case => ({ ...one, edited: one.edited ?? one.updated, updated: now() });

/** Write a new visit, and its case where that is new. A case that is known stays as another tab may have left it. */
export function saveVisit(one: Case, visit: Visit): Promise<void> {
  return change(VISIT_STORES, async (transaction) => {
    const cases = transaction.objectStore("cases");
    await cases.put(touched((await cases.get(one.id)) ?? one));
    const written = { ...visit, edited: now() };
    await putVisits(transaction.objectStore("visits"), transaction.objectStore("index"), [written]);
  });
}

/** Change a visit; it is read anew, so that what was written since the page drew it stays. */
export function changeVisit(id: string, changed: (kept: Visit) => Partial<Visit>): Promise<void> {
  return change(VISIT_STORES, async (transaction) => {
    const [cases, visits] = [transaction.objectStore("cases"), transaction.objectStore("visits")];
    const kept = await visits.get(id);
    if (kept === undefined) throw new AppError("recordGone");
    await putVisits(visits, transaction.objectStore("index"), [{ ...kept, ...changed(kept), edited: now() }]);
    const one = await cases.get(kept.caseId);
    if (one !== undefined) await cases.put(touched(one));
  });
}

/** Change a case, which is read anew as a visit is. */
export function changeCase(id: string, changed: (kept: Case) => Case): Promise<void> {
  return change(["cases"], async (transaction) => {
    const cases = transaction.objectStore("cases");
    const kept = await cases.get(id);
    if (kept === undefined) throw new AppError("recordGone");
    const after = changed(kept);
    await cases.put(content(after) === content(kept) ? touched(after) : { ...after, updated: now(), edited: now() });
  });
}

/** Settle a conflict: take over what it says, or drop it. */
export async function settleConflict(caseId: string, conflict: Conflict, use: boolean): Promise<void> {
  const { visitId, note, date, measures = [] } = conflict;
  if (use && visitId !== undefined) {
    await changeVisit(visitId, (kept) => ({
      note: note ?? kept.note,
      date: date ?? kept.date,
      photos: kept.photos.map((photo, i) => {
        const other = measures.find((one) => one.photo === (photo.id ?? i));
        return other === undefined ? photo : { ...photo, measure: other.measure };
      }),
    }));
  }
  await changeCase(caseId, ({ conflicts = [], ...kept }) => {
    const rest = conflicts.filter((other) => JSON.stringify(other) !== JSON.stringify(conflict));
    const own = use && visitId === undefined ? conflictFields(conflict) : {};
    return { ...kept, ...own, ...(rest.length > 0 && { conflicts: rest }) };
  });
}

function conflictFields({ title, site, note, clinical }: Conflict): Partial<Case> {
  return {
    ...(title !== undefined && { title }),
    ...(site !== undefined && { site }),
    ...(note !== undefined && { note }),
    ...(clinical !== undefined && { clinical }),
  };
}

export function deleteVisit({ id, caseId }: Pick<Visit, "id" | "caseId">): Promise<void> {
  return change(VISIT_STORES, async (transaction) => {
    await transaction.objectStore("visits").delete(id);
    await index(transaction.objectStore("index"), [], [{ id, caseId }]);
  });
}

export function deleteCase(id: string): Promise<void> {
  return change(VISIT_STORES, async (transaction) => {
    await transaction.objectStore("cases").delete(id);
    const keys = await transaction.objectStore("visits").index("case").getAllKeys(id);
    for (const key of keys) await transaction.objectStore("visits").delete(key);
    await index(
      transaction.objectStore("index"),
      [],
      keys.map((key) => ({ id: key, caseId: id })),
    );
  });
}

export function deleteEverything(): Promise<void> {
  const stores: StoreName[] = [...VISIT_STORES, "patients", "sheets"];
  return change(stores, async (transaction) => {
    for (const name of stores) await transaction.objectStore(name).clear();
  });
}

/** Merge imported cases, patients and sheets into the notebook: all of them or none. */
export async function mergeIntoNotebook(
  imported: readonly CaseWithVisits[],
  patients: readonly Patient[] = [],
  sheets: readonly Sheet[] = [],
): Promise<Merged> {
  let merged: Merged = { added: 0, updated: 0, unchanged: 0, conflicts: 0 };
  let others = 0;
  // Read and written in one transaction, so that nothing written meanwhile in another tab is lost.
  await change([...VISIT_STORES, "patients", "sheets"], async (transaction) => {
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
      await putVisits(visits, transaction.objectStore("index"), dates);
    }
    others = await mergePatients(transaction.objectStore("patients"), patients);
    others += await mergeSheets(transaction.objectStore("sheets"), sheets);
    merged = result.merged;
  });
  return { ...merged, ...(others > 0 && { others }) };
}

/** Reading and writing cases. Every change is one transaction: it happens whole or not at all. */

import { signal } from "@preact/signals";
import { database, storageError } from "./database";
import { type Merged, mergeCases } from "./merge";
import type { Case, Conflict, Visit } from "./types";

export interface CaseWithVisits extends Case {
  /** Oldest first. */
  visits: Visit[];
}

/** Grows whenever the notebook changes; pages that show it read it to be drawn again. */
export const revision = signal(0);

export async function change(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    throw storageError(error);
  }
  revision.value += 1;
}

export function sortVisits(visits: Visit[]): Visit[] {
  return visits.sort((a, b) => a.date.localeCompare(b.date) || a.created.localeCompare(b.created));
}

/** All cases, the one changed last first. */
export async function listCases(): Promise<CaseWithVisits[]> {
  const db = await database();
  const [cases, visits] = await Promise.all([db.getAll("cases"), db.getAll("visits")]);
  const byCase = groupVisits(visits);
  return cases
    .map((one) => ({ ...one, visits: sortVisits(byCase.get(one.id) ?? []) }))
    .sort((a, b) => b.updated.localeCompare(a.updated));
}

function groupVisits(visits: Visit[]): Map<string, Visit[]> {
  const groups = new Map<string, Visit[]>();
  for (const visit of visits) groups.set(visit.caseId, [...(groups.get(visit.caseId) ?? []), visit]);
  return groups;
}

export async function readCase(id: string): Promise<CaseWithVisits | null> {
  const db = await database();
  const [one, visits] = await Promise.all([db.get("cases", id), db.getAllFromIndex("visits", "case", id)]);
  return one === undefined ? null : { ...one, visits: sortVisits(visits) };
}

/** Write a case together with a new visit of it. */
export function saveVisit(one: Case, visit: Visit): Promise<void> {
  return change(async () => {
    const db = await database();
    const transaction = db.transaction(["cases", "visits"], "readwrite");
    await Promise.all([
      transaction.objectStore("cases").put(one),
      transaction.objectStore("visits").put(visit),
      transaction.done,
    ]);
  });
}

export function saveCase(one: Case): Promise<void> {
  return change(async () => {
    await (await database()).put("cases", one);
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
  return change(async () => {
    await (await database()).delete("visits", id);
  });
}

export function deleteCase(id: string): Promise<void> {
  return change(async () => {
    const db = await database();
    const transaction = db.transaction(["cases", "visits"], "readwrite");
    const visits = transaction.objectStore("visits");
    const keys = await visits.index("case").getAllKeys(id);
    await Promise.all([
      transaction.objectStore("cases").delete(id),
      ...keys.map((key) => visits.delete(key)),
      transaction.done,
    ]);
  });
}

export function deleteEverything(): Promise<void> {
  return change(async () => {
    const db = await database();
    const transaction = db.transaction(["cases", "visits", "patients", "sheets"], "readwrite");
    await Promise.all([
      transaction.objectStore("cases").clear(),
      transaction.objectStore("visits").clear(),
      transaction.objectStore("patients").clear(),
      transaction.objectStore("sheets").clear(),
      transaction.done,
    ]);
  });
}

/** Merge imported cases into the notebook: all of them or none. */
export async function mergeIntoNotebook(imported: readonly CaseWithVisits[]): Promise<Merged> {
  let merged: Merged = { added: 0, updated: 0, unchanged: 0, conflicts: 0 };
  await change(async () => {
    const db = await database();
    // Read and written in one transaction, so that nothing written meanwhile in another tab is lost.
    const transaction = db.transaction(["cases", "visits"], "readwrite");
    const [cases, visits] = [transaction.objectStore("cases"), transaction.objectStore("visits")];
    const byCase = groupVisits(await visits.getAll());
    const here = (await cases.getAll()).map((one) => ({ ...one, visits: byCase.get(one.id) ?? [] }));
    const result = mergeCases(here, imported);
    const writes: Promise<unknown>[] = [transaction.done];
    for (const { visits: dates, ...one } of result.changed) {
      writes.push(cases.put(one), ...dates.map((visit) => visits.put(visit)));
    }
    await Promise.all(writes);
    merged = result.merged;
  });
  return merged;
}

/** Write a case and its visits as they are, for bringing back what was deleted. */
export function restoreCases(restored: readonly CaseWithVisits[]): Promise<void> {
  return change(async () => {
    const db = await database();
    const transaction = db.transaction(["cases", "visits"], "readwrite");
    const writes: Promise<unknown>[] = [transaction.done];
    for (const { visits, ...one } of restored) {
      writes.push(transaction.objectStore("cases").put(one));
      for (const visit of visits) writes.push(transaction.objectStore("visits").put(visit));
    }
    await Promise.all(writes);
  });
}

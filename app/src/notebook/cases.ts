/** Reading and writing cases. Every change is one transaction: it happens whole or not at all. */

import { signal } from "@preact/signals";
import { database, storageError } from "./database";
import type { Case, Visit } from "./types";

export interface CaseWithVisits extends Case {
  /** Oldest first. */
  visits: Visit[];
}

/** Grows whenever the notebook changes; pages that show it read it to be drawn again. */
export const revision = signal(0);

async function change(work: () => Promise<void>): Promise<void> {
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
    const transaction = db.transaction(["cases", "visits"], "readwrite");
    await Promise.all([
      transaction.objectStore("cases").clear(),
      transaction.objectStore("visits").clear(),
      transaction.done,
    ]);
  });
}

/** Write many cases at once; those with the same identity are replaced. */
export function putCases(cases: readonly CaseWithVisits[]): Promise<void> {
  return change(async () => {
    const db = await database();
    const transaction = db.transaction(["cases", "visits"], "readwrite");
    const writes: Promise<unknown>[] = [transaction.done];
    for (const { visits, ...one } of cases) {
      writes.push(transaction.objectStore("cases").put(one));
      for (const visit of visits) writes.push(transaction.objectStore("visits").put(visit));
    }
    await Promise.all(writes);
  });
}

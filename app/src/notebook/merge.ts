/** Merging an imported notebook into the one on this device: newer wins, and what it replaces is kept as a conflict. */

import type { CaseWithVisits } from "./cases";
import type { Case, Conflict, Visit } from "./types";

/** What a merge did, counted in cases. */
export interface Merged {
  added: number;
  updated: number;
  /** Already here, as new or newer. */
  unchanged: number;
  /** Cases with another version to look at. */
  conflicts: number;
}

/** Fields that say when and where, not what a person wrote. */
const BOOKKEEPING: ReadonlySet<string> = new Set([
  "id",
  "caseId",
  "created",
  "updated",
  "conflicts",
  "visits",
  "photos",
]);

/** Sorted by key, so that equal content is equal text whatever the order of its fields. */
function canonical(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(canonical);
  if (typeof value !== "object" || value === null) return value;
  const fields = Object.entries(value).filter(([, field]) => field !== undefined);
  return Object.fromEntries(fields.sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, field]) => [key, canonical(field)]));
}

function content(record: object): string {
  return JSON.stringify(canonical(Object.fromEntries(Object.entries(record).filter(([key]) => !BOOKKEEPING.has(key)))));
}

/** Add conflicts that are not among those already kept, nor what the case itself says. */
function withConflicts(known: readonly Conflict[], found: readonly Conflict[]): Conflict[] {
  const all = new Map([...known, ...found].map((conflict) => [content(conflict), conflict]));
  return [...all.values()];
}

/**
 * Merge one imported case into the same case on this device.
 *
 * The fields of the version written last win. The other version's are kept among `conflicts` where they differ. Visits
 * are joined by identity; one that stands on both sides stays as it is here, and another note of it is a conflict.
 */
export function mergeCase(here: CaseWithVisits, imported: CaseWithVisits): CaseWithVisits {
  const [newer, older] = imported.updated > here.updated ? [imported, here] : [here, imported];
  const { visits: _, conflicts: __, ...fields } = newer;
  const found: Conflict[] = [];
  if (content(newer) !== content(older)) {
    const { updated, title, site, note, clinical } = older;
    found.push({ updated, title, site, note, ...(clinical !== undefined && { clinical }) });
  }
  const visits = new Map(here.visits.map((visit) => [visit.id, visit]));
  for (const visit of imported.visits) {
    const known = visits.get(visit.id);
    if (known === undefined) visits.set(visit.id, { ...visit, caseId: here.id });
    else {
      // Photographs that a model answered are the same on both sides; others are joined. So are outlines.
      const photos = known.photos.map((photo, i) => {
        const there = photo.id === undefined ? visit.photos[i] : visit.photos.find(({ id }) => id === photo.id);
        const measure = photo.measure ?? there?.measure;
        return measure === undefined ? photo : { ...photo, measure };
      });
      const here = new Set(known.photos.map(({ id }) => id));
      const more = visit.photos.filter(({ id }) => id !== undefined && !here.has(id));
      visits.set(visit.id, { ...known, photos: [...photos, ...more] });
      if (known.note !== visit.note) found.push({ updated: imported.updated, visitId: visit.id, note: visit.note });
    }
  }
  const conflicts = withConflicts([...(here.conflicts ?? []), ...(imported.conflicts ?? [])], found);
  const merged: Case = { ...fields, ...(conflicts.length > 0 && { conflicts }) };
  return { ...merged, visits: [...visits.values()] };
}

/** Whether a merge left the case on this device as it was. */
function same(a: CaseWithVisits, b: CaseWithVisits): boolean {
  const visits = (one: CaseWithVisits): string =>
    JSON.stringify(
      one.visits
        .map(({ id, photos }: Visit) => [id, ...photos.map(({ measure }) => measure !== undefined)].join())
        .sort(),
    );
  const own = ({ visits: _, ...fields }: CaseWithVisits): string => JSON.stringify(canonical(fields));
  return visits(a) === visits(b) && own(a) === own(b);
}

/** Merge imported cases into those on this device; returns the cases to write, and what was done. */
export function mergeCases(
  here: readonly CaseWithVisits[],
  imported: readonly CaseWithVisits[],
): { changed: CaseWithVisits[]; merged: Merged } {
  const known = new Map(here.map((one) => [one.id, one]));
  const changed: CaseWithVisits[] = [];
  const merged: Merged = { added: 0, updated: 0, unchanged: 0, conflicts: 0 };
  for (const one of imported) {
    const before = known.get(one.id);
    const after = before === undefined ? one : mergeCase(before, one);
    if (before !== undefined && same(before, after)) {
      merged.unchanged++;
      continue;
    }
    merged[before === undefined ? "added" : "updated"]++;
    if ((after.conflicts?.length ?? 0) > (before?.conflicts?.length ?? 0)) merged.conflicts++;
    known.set(one.id, after); // a file may name a case twice
    changed.push(after);
  }
  return { changed, merged };
}

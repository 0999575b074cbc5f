/** Merging an imported notebook into the one on this device: newer wins, and what it replaces is kept as a conflict. */

import type { CaseWithVisits } from "./cases";
import type { Case, Conflict, Visit, VisitPhoto } from "./types";

/** What a merge did, counted in cases. */
export interface Merged {
  added: number;
  updated: number;
  /** Already here, as new or newer. */
  unchanged: number;
  /** Cases with another version to look at. */
  conflicts: number;
  /** Patients and sheets of which another version is kept; missing where there are none. */
  others?: number;
}

/** Fields that say when and where, not what a person wrote. */
const BOOKKEEPING: ReadonlySet<string> = new Set([
  "id",
  "caseId",
  "created",
  "updated",
  "edited",
  "versionOf",
  "conflicts",
  "visits",
  "photos",
]);

/** Sorted by key, so that equal content is equal text whatever the order of its fields. */
function canonical(value: unknown): unknown {
  if (value instanceof Blob) return [value.size, value.type];
  if (Array.isArray(value)) return value.map(canonical);
  if (typeof value !== "object" || value === null) return value;
  const fields = Object.entries(value).filter(([, field]) => field !== undefined);
  return Object.fromEntries(fields.sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, field]) => [key, canonical(field)]));
}

/** What a person wrote or measured, as text. */
export function content(record: object): string {
  return JSON.stringify(canonical(Object.fromEntries(Object.entries(record).filter(([key]) => !BOOKKEEPING.has(key)))));
}

/** Add conflicts that are not among those already kept, nor what the case itself says. */
function withConflicts(known: readonly Conflict[], found: readonly Conflict[]): Conflict[] {
  const all = new Map([...known, ...found].map((conflict) => [content(conflict), conflict]));
  return [...all.values()];
}

/** When a record was written, and, where that is the same, when its case was: compared in this order. */
type Written = readonly [written: string, updated: string];

const ofCase = (one: Case): Written => [one.edited ?? one.updated, one.updated];
const ofVisit = (visit: Visit, one: Case): Written => [visit.edited ?? one.updated, one.updated];

function isLater(a: Written, b: Written): boolean {
  return a[0] > b[0] || (a[0] === b[0] && a[1] > b[1]);
}

/** Merge a visit that stands on both sides; also what the older version says otherwise, null where nothing. */
function mergeVisit(known: Visit, there: Visit, imported: boolean, older: string): [Visit, Conflict | null] {
  const [newer, other] = imported ? [there, known] : [known, there];
  const measures: Required<Conflict>["measures"] = [];
  // Photographs that a model answered are the same on both sides; others are joined. So are outlines.
  const pairOf = (photo: VisitPhoto, i: number): VisitPhoto | undefined =>
    photo.id === undefined ? there.photos[i] : there.photos.find(({ id }) => id === photo.id);
  const photos = known.photos.map((photo, i) => {
    const [first, second] = imported ? [pairOf(photo, i), photo] : [photo, pairOf(photo, i)];
    const measure = first?.measure ?? second?.measure;
    if (measure === undefined) return photo;
    const lost = second?.measure;
    if (lost !== undefined && content(lost) !== content(measure))
      measures.push({ photo: photo.id ?? i, measure: lost });
    return { ...photo, measure };
  });
  const here = new Set(known.photos.map(({ id }) => id));
  const more = there.photos.filter(({ id }) => id !== undefined && !here.has(id));
  const { date, note, edited } = newer;
  const merged = { ...known, date, note, ...(edited !== undefined && { edited }), photos: [...photos, ...more] };
  const lost = {
    ...(other.date !== date && { date: other.date }),
    ...(other.note !== note && { note: other.note }),
    ...(measures.length > 0 && { measures }),
  };
  return [merged, Object.keys(lost).length > 0 ? { updated: older, visitId: known.id, ...lost } : null];
}

/**
 * Merge one imported case into the same case on this device.
 *
 * The fields of the version written last win, of the case and of each of its dates. The other version's are kept among
 * `conflicts` where they differ. Visits are joined by identity.
 */
export function mergeCase(here: CaseWithVisits, imported: CaseWithVisits): CaseWithVisits {
  const [newer, older] = isLater(ofCase(imported), ofCase(here)) ? [imported, here] : [here, imported];
  const { visits: _, conflicts: __, ...fields } = newer;
  const found: Conflict[] = [];
  if (content(newer) !== content(older)) {
    const { title, site, note, clinical } = older;
    found.push({ updated: ofCase(older)[0], title, site, note, ...(clinical !== undefined && { clinical }) });
  }
  const visits = new Map(here.visits.map((visit) => [visit.id, visit]));
  for (const visit of imported.visits) {
    const known = visits.get(visit.id);
    if (known === undefined) {
      visits.set(visit.id, { ...visit, caseId: here.id });
      continue;
    }
    const [mine, theirs] = [ofVisit(known, here), ofVisit(visit, imported)];
    const later = isLater(theirs, mine);
    const [merged, lost] = mergeVisit(known, visit, later, (later ? mine : theirs)[0]);
    visits.set(visit.id, merged);
    if (lost !== null) found.push(lost);
  }
  const conflicts = withConflicts([...(here.conflicts ?? []), ...(imported.conflicts ?? [])], found);
  const updated = imported.updated > here.updated ? imported.updated : here.updated;
  const edited = ofCase(newer)[0];
  const merged: Case = {
    ...fields,
    updated,
    ...(edited !== updated && { edited }),
    ...(conflicts.length > 0 && { conflicts }),
  };
  return { ...merged, visits: [...visits.values()] };
}

/** Whether a merge left the case on this device as it was. */
function same(a: CaseWithVisits, b: CaseWithVisits): boolean {
  const written = ({ id, date, note, photos }: Visit): string =>
    JSON.stringify(canonical([id, date, note, photos.map((photo) => [photo.id, photo.measure])]));
  const visits = (one: CaseWithVisits): string => one.visits.map(written).sort().join();
  const own = ({ visits: _, edited: __, ...fields }: CaseWithVisits): string => JSON.stringify(canonical(fields));
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

/** Reading and writing patients, their hypopigmentation sheets, and what a clinician adds to lesions. Every change is one transaction. */

import { AppError } from "../core/errors";
import { identity } from "../notebook/record";
import { type CaseWithVisits, change, changeCase, changeVisit, listCases, readCases } from "../notebook/cases";
import { type Found, read, readAll, readEach } from "../notebook/database";
import type { Case, Visit } from "../notebook/types";
import { whole } from "../notebook/whole";
import { type Clinical, type Measure, NO_CLINICAL, type Patient, type Sheet } from "./types";

export function newPatient(code: string): Patient {
  const now = new Date().toISOString();
  return { id: identity(), code, birthYear: null, skinType: null, note: "", created: now, updated: now };
}

export function newSheet(patientId: string, date: string): Sheet {
  const now = new Date().toISOString();
  return {
    id: identity(),
    patientId,
    date,
    diagnosis: "",
    treatment: "",
    note: "",
    scores: [],
    pairs: [],
    created: now,
    updated: now,
  };
}

/** All patients that can be shown, by code. */
export function listPatients(): Promise<Patient[]> {
  return read(async () => {
    const { records } = await readAll("patient");
    return records.sort((a, b) => a.code.localeCompare(b.code, undefined, { numeric: true }));
  });
}

/** @throws AppError: the patient's record is damaged */
export function readPatient(id: string): Promise<Patient | null> {
  return read(async (db) => whole("patient", await db.get("patients", id)));
}

/** The age in years of a lesion's patient, where the year of birth is known and can be read. */
export async function ageOf({ clinical }: Pick<Case, "clinical">): Promise<string | null> {
  const patient = clinical?.patientId ? await readPatient(clinical.patientId).catch(() => null) : null;
  return patient?.birthYear == null ? null : String(new Date().getFullYear() - patient.birthYear);
}

export function savePatient(patient: Patient): Promise<void> {
  return change(["patients"], async (transaction) => {
    await transaction.objectStore("patients").put({ ...patient, updated: new Date().toISOString() });
  });
}

/** Delete a patient and the sheets; lesions stay in the notebook, without a patient. */
export function deletePatient(id: string): Promise<void> {
  return change(["patients", "sheets", "cases"], async (transaction) => {
    const [sheets, cases] = [transaction.objectStore("sheets"), transaction.objectStore("cases")];
    await transaction.objectStore("patients").delete(id);
    for (const key of await sheets.index("patient").getAllKeys(id)) await sheets.delete(key);
    for (const one of await cases.getAll()) {
      if (one.clinical?.patientId !== id) continue;
      const clinical = { ...NO_CLINICAL, ...one.clinical, patientId: null };
      const now = new Date().toISOString();
      await cases.put({ ...one, clinical, updated: now, edited: now });
    }
  });
}

/** Those of a patient, the oldest first, and how many are damaged. */
export function listSheets(patientId: string): Promise<Found<"sheet">> {
  return read(async (db) => {
    const found = await readEach("sheet", await db.getAllKeysFromIndex("sheets", "patient", patientId));
    found.records.sort((a, b) => a.date.localeCompare(b.date) || a.created.localeCompare(b.created));
    return found;
  });
}

/** Everything on the device, for writing it to a file; `damaged` counts what cannot be read. */
export async function readEverything(): Promise<{
  cases: CaseWithVisits[];
  patients: Patient[];
  sheets: Sheet[];
  damaged: number;
}> {
  const listed = await listCases();
  const [{ cases, damaged }, patients, sheets] = await Promise.all([
    readCases(listed.cases.map(({ id }) => id)),
    read(() => readAll("patient")),
    read(() => readAll("sheet")),
  ]);
  return {
    cases,
    patients: patients.records,
    sheets: sheets.records,
    damaged: listed.damaged + damaged + patients.damaged + sheets.damaged,
  };
}

/** @throws AppError: the sheet is damaged */
export function readSheet(id: string): Promise<Sheet | null> {
  return read(async (db) => whole("sheet", await db.get("sheets", id)));
}

export function saveSheet(sheet: Sheet): Promise<void> {
  return change(["sheets"], async (transaction) => {
    await transaction.objectStore("sheets").put({ ...sheet, updated: new Date().toISOString() });
  });
}

/** Change a sheet; it is read anew, so that what was written since the page drew it stays. */
export function changeSheet(id: string, changed: (kept: Sheet) => Partial<Sheet>): Promise<void> {
  return change(["sheets"], async (transaction) => {
    const sheets = transaction.objectStore("sheets");
    const kept = await sheets.get(id);
    if (kept === undefined) throw new AppError("recordGone");
    await sheets.put({ ...kept, ...changed(kept), updated: new Date().toISOString() });
  });
}

export function deleteSheet(id: string): Promise<void> {
  return change(["sheets"], async (transaction) => {
    await transaction.objectStore("sheets").delete(id);
  });
}

/** Settle a sheet that is another version: put it in the place of the other one, or drop it. Gives the one that stays. */
export async function settleSheet({ id, versionOf }: Sheet, use: boolean): Promise<string> {
  let stays = id;
  await change(["sheets"], async (transaction) => {
    const sheets = transaction.objectStore("sheets");
    const [other, one] = [await sheets.get(id), await sheets.get(versionOf ?? "")];
    if (other === undefined) throw new AppError("recordGone");
    if (one !== undefined) {
      stays = one.id;
      await sheets.delete(id);
    }
    const { versionOf: _, ...kept } = other;
    if (use || one === undefined) await sheets.put({ ...kept, id: stays, updated: new Date().toISOString() });
  });
  return stays;
}

/** Change what the clinician says of a lesion. */
export function saveClinical(caseId: string, changed: Partial<Clinical>): Promise<void> {
  return changeCase(caseId, (kept) => ({ ...kept, clinical: { ...NO_CLINICAL, ...kept.clinical, ...changed } }));
}

/** Keep outlines on a photograph of the visit as it was drawn: it may have another place meanwhile. */
export function saveMeasure(
  { id, photos: drawn }: Pick<Visit, "id" | "photos">,
  place: number,
  measure: Measure,
): Promise<void> {
  const own = drawn[place].id;
  return changeVisit(id, ({ photos }) => {
    const at = own === undefined ? place : photos.findIndex((photo) => photo.id === own);
    if (photos[at] === undefined) throw new AppError("recordGone");
    return { photos: photos.map((photo, i) => (i === at ? { ...photo, measure } : photo)) };
  });
}

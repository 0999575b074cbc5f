/** Reading and writing patients, their hypopigmentation sheets, and what a clinician adds to lesions. Every change is one transaction. */

import { identity } from "../notebook/record";
import { change } from "../notebook/cases";
import { database } from "../notebook/database";
import type { Measure, Patient, Sheet } from "./types";
import type { Clinical } from "./types";
import { NO_CLINICAL } from "./types";

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

/** All patients, by code. */
export async function listPatients(): Promise<Patient[]> {
  const all = await (await database()).getAll("patients");
  return all.sort((a, b) => a.code.localeCompare(b.code, undefined, { numeric: true }));
}

export async function readPatient(id: string): Promise<Patient | null> {
  return (await (await database()).get("patients", id)) ?? null;
}

export function savePatient(patient: Patient): Promise<void> {
  return change(async () => {
    await (await database()).put("patients", { ...patient, updated: new Date().toISOString() });
  });
}

/** Delete a patient and the sheets; lesions stay in the notebook, without a patient. */
export function deletePatient(id: string): Promise<void> {
  return change(async () => {
    const db = await database();
    const transaction = db.transaction(["patients", "sheets", "cases"], "readwrite");
    const [sheets, cases] = [transaction.objectStore("sheets"), transaction.objectStore("cases")];
    const keys = await sheets.index("patient").getAllKeys(id);
    const lesions = (await cases.getAll()).filter((one) => one.clinical?.patientId === id);
    await Promise.all([
      transaction.objectStore("patients").delete(id),
      ...keys.map((key) => sheets.delete(key)),
      ...lesions.map((one) =>
        cases.put({
          ...one,
          clinical: { ...NO_CLINICAL, ...one.clinical, patientId: null },
          updated: new Date().toISOString(),
        }),
      ),
      transaction.done,
    ]);
  });
}

/** Oldest first. */
export async function listSheets(patientId: string): Promise<Sheet[]> {
  const found = await (await database()).getAllFromIndex("sheets", "patient", patientId);
  return found.sort((a, b) => a.date.localeCompare(b.date) || a.created.localeCompare(b.created));
}

export async function allSheets(): Promise<Sheet[]> {
  return (await database()).getAll("sheets");
}

export async function readSheet(id: string): Promise<Sheet | null> {
  return (await (await database()).get("sheets", id)) ?? null;
}

export function saveSheet(sheet: Sheet): Promise<void> {
  return change(async () => {
    await (await database()).put("sheets", { ...sheet, updated: new Date().toISOString() });
  });
}

/** Change a sheet; it is read anew, so that what was written since the page drew it stays. */
export function changeSheet(id: string, changed: (kept: Sheet) => Partial<Sheet>): Promise<void> {
  return change(async () => {
    const transaction = (await database()).transaction("sheets", "readwrite");
    const kept = await transaction.store.get(id);
    if (kept !== undefined) {
      await transaction.store.put({ ...kept, ...changed(kept), updated: new Date().toISOString() });
    }
    await transaction.done;
  });
}

export function deleteSheet(id: string): Promise<void> {
  return change(async () => {
    await (await database()).delete("sheets", id);
  });
}

/** Change what the clinician says of a lesion; the case is read anew, so that what another tab wrote meanwhile stays. */
export function saveClinical(caseId: string, changed: Partial<Clinical>): Promise<void> {
  return change(async () => {
    const transaction = (await database()).transaction("cases", "readwrite");
    const one = await transaction.store.get(caseId);
    if (one !== undefined) {
      const clinical = { ...NO_CLINICAL, ...one.clinical, ...changed };
      await transaction.store.put({ ...one, clinical, updated: new Date().toISOString() });
    }
    await transaction.done;
  });
}

export function saveMeasure(visitId: string, photo: number, measure: Measure): Promise<void> {
  return change(async () => {
    const transaction = (await database()).transaction(["visits", "cases"], "readwrite");
    const [visits, cases] = [transaction.objectStore("visits"), transaction.objectStore("cases")];
    const visit = await visits.get(visitId);
    if (visit !== undefined) {
      const photos = visit.photos.map((one, i) => (i === photo ? { ...one, measure } : one));
      await visits.put({ ...visit, photos });
      const one = await cases.get(visit.caseId);
      if (one !== undefined) await cases.put({ ...one, updated: new Date().toISOString() });
    }
    await transaction.done;
  });
}

/** Merge imported patients and sheets: the one written last wins, and what it would replace is kept beside it. */
export function mergeRecords(patients: readonly Patient[], sheets: readonly Sheet[]): Promise<void> {
  return change(async () => {
    const transaction = (await database()).transaction(["patients", "sheets"], "readwrite");
    const [people, dates] = [transaction.objectStore("patients"), transaction.objectStore("sheets")];
    for (const patient of patients) {
      const here = await people.get(patient.id);
      await people.put(here === undefined ? patient : mergedPatient(here, patient));
    }
    for (const sheet of sheets) {
      const here = await dates.get(sheet.id);
      if (here === undefined) await dates.put(sheet);
      else if (here.updated !== sheet.updated) {
        const [newer, older] = sheet.updated > here.updated ? [sheet, here] : [here, sheet];
        await dates.put(newer);
        await dates.put({ ...older, id: `${older.id}-${older.updated}` });
      }
    }
    await transaction.done;
  });
}

/** The newer version; the older one's note is kept below the newer's where it says something else. */
export function mergedPatient(here: Patient, imported: Patient): Patient {
  const [newer, older] = imported.updated > here.updated ? [imported, here] : [here, imported];
  const kept = older.note.trim();
  if (kept === "" || newer.note.includes(kept)) return newer;
  return { ...newer, note: `${newer.note}\n\n[${older.updated.slice(0, 10)}]\n${kept}`.trim() };
}

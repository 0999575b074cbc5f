/** Merging imported patients and sheets into those on this device: the one written last wins, the other is kept beside it. */

import { isWhole } from "../notebook/whole";
import { type Patient, ROMAN, type Sheet } from "./types";

/** A store of a transaction that is under way. */
interface Records<Kept> {
  get(id: string): Promise<Kept | undefined>;
  put(record: Kept): Promise<unknown>;
}

export async function mergePatients(here: Records<Patient>, imported: readonly Patient[]): Promise<void> {
  for (const patient of imported) {
    const known = await here.get(patient.id);
    await here.put(isWhole("patient", known) ? mergedPatient(known!, patient) : patient);
  }
}

export async function mergeSheets(here: Records<Sheet>, imported: readonly Sheet[]): Promise<void> {
  for (const sheet of imported) {
    const known = await here.get(sheet.id);
    if (known === undefined || !isWhole("sheet", known)) await here.put(sheet);
    else if (known.updated !== sheet.updated) {
      const [newer, older] = sheet.updated > known.updated ? [sheet, known] : [known, sheet];
      await here.put(newer);
      await here.put({ ...older, id: `${older.id}-${older.updated}` });
    }
  }
}

/** The newer version; what the older one says otherwise is kept below the newer's note. */
export function mergedPatient(here: Patient, imported: Patient): Patient {
  const [newer, older] = imported.updated > here.updated ? [imported, here] : [here, imported];
  const { code, birthYear, skinType } = older;
  const note = older.note.trim();
  const lost = [
    code !== newer.code && code,
    birthYear !== newer.birthYear && birthYear,
    skinType !== newer.skinType && skinType && ROMAN[skinType - 1],
    !newer.note.includes(note) && note,
  ].filter(Boolean);
  const kept = `[${older.updated.slice(0, 10)}]\n${lost.join("\n")}`;
  if (lost.length === 0 || newer.note.includes(kept)) return newer;
  return { ...newer, note: `${newer.note}\n\n${kept}`.trim() };
}

/** Merging imported patients and sheets into those on this device: the one written last wins, the other is kept beside it. */

import { content } from "../notebook/merge";
import { isWhole } from "../notebook/whole";
import { type Patient, ROMAN, type Sheet } from "./types";

/** A store of a transaction that is under way. */
interface Records<Kept> {
  get(id: string): Promise<Kept | undefined>;
  put(record: Kept): Promise<unknown>;
}

/** Merge patients; returns of how many another version is kept. */
export async function mergePatients(here: Records<Patient>, imported: readonly Patient[]): Promise<number> {
  let others = 0;
  for (const patient of imported) {
    const known = await here.get(patient.id);
    const merged = isWhole("patient", known) ? mergedPatient(known!, patient) : patient;
    await here.put(merged);
    if (merged.note !== patient.note && merged.note !== known?.note) others++;
  }
  return others;
}

/** Merge sheets; the older version is kept as a sheet of its own. Returns of how many one is kept. */
export async function mergeSheets(here: Records<Sheet>, imported: readonly Sheet[]): Promise<number> {
  let others = 0;
  for (const sheet of imported) {
    const known = await here.get(sheet.id);
    if (known === undefined || !isWhole("sheet", known)) {
      await here.put(sheet);
      continue;
    }
    const [newer, older] = sheet.updated > known.updated ? [sheet, known] : [known, sheet];
    await here.put(newer);
    if (content(newer) === content(older)) continue;
    const id = `${older.id.slice(0, 60)}-${older.updated}`;
    if ((await here.get(id)) !== undefined) continue; // kept before, and perhaps written on since
    await here.put({ ...older, id, versionOf: newer.id });
    others++;
  }
  return others;
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

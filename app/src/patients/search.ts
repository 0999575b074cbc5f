/** Finding lesions and patients: every word must occur, and every filter that is on must hold. */

import type { Case } from "../notebook/types";
import type { Patient } from "./types";

export interface Filters {
  /** Only with a reminder on or before this day. */
  dueBy?: string;
  /** Only lesions without a clinician's diagnosis. */
  undiagnosed?: boolean;
  /** Only lesions of this patient. */
  patientId?: string;
}

const words = (query: string): string[] => query.toLowerCase().split(/\s+/).filter(Boolean);

export function matches(one: Case, filters: Filters): boolean {
  const { clinical } = one;
  if (filters.patientId !== undefined && clinical?.patientId !== filters.patientId) return false;
  if (filters.undiagnosed && clinical?.diagnosis) return false;
  if (filters.dueBy !== undefined && !(clinical?.reminder && clinical.reminder <= filters.dueBy)) return false;
  return true;
}

/** What the clinician's part adds to the words a lesion is found by. */
export function clinicalWords(one: Case, patients: ReadonlyMap<string, Patient>): string {
  const patient = one.clinical?.patientId ? patients.get(one.clinical.patientId) : undefined;
  return [one.clinical?.diagnosis, one.clinical?.histology, one.clinical?.reminder, patient?.code]
    .filter(Boolean)
    .join("\n");
}

export function searchPatients(patients: readonly Patient[], query: string): Patient[] {
  return patients.filter((patient) => {
    const text = [patient.code, patient.birthYear, patient.note].join("\n").toLowerCase();
    return words(query).every((word) => text.includes(word));
  });
}

export interface PatientSummary {
  lesions: number;
  /** The first reminder of any lesion. */
  reminder: string | null;
}

export function summaries(cases: readonly Case[]): Map<string, PatientSummary> {
  const found = new Map<string, PatientSummary>();
  for (const { clinical } of cases) {
    if (!clinical?.patientId) continue;
    const known = found.get(clinical.patientId) ?? { lesions: 0, reminder: null };
    const { reminder } = clinical;
    found.set(clinical.patientId, {
      lesions: known.lesions + 1,
      reminder: reminder !== null && (known.reminder === null || reminder < known.reminder) ? reminder : known.reminder,
    });
  }
  return found;
}

/** Finding lesions and patients: every word must occur, and every filter that is on must hold. */

import { decide, type Verdict } from "../core/verdict";
import type { CaseBrief } from "../notebook/brief";
import type { Case, Site } from "../notebook/types";
import type { Patient } from "./types";

/** Each null where it is off. */
export interface Filters {
  /** Only with a reminder on or before this day. */
  dueBy: string | null;
  /** Only lesions of this patient. */
  patientId: string | null;
  /** Only at this place, such as "front:left.forearm". */
  place: string | null;
  /** Only with this verdict at the last date a model answered; "none": no model has. */
  verdict: Verdict["kind"] | "none" | null;
}

export const NO_FILTERS: Filters = { dueBy: null, patientId: null, place: null, verdict: null };

const words = (query: string): string[] => query.toLowerCase().split(/\s+/).filter(Boolean);

/** The verdict at the last date that a model answered, by the rule as it is now. */
export function lastVerdict({ visits }: Pick<CaseBrief, "visits">): Verdict | null {
  const evidence = visits.flatMap((visit) => visit.evidence ?? []).at(-1);
  return evidence === undefined ? null : decide(evidence);
}

export const placeKey = (site: Site | null): string | null => site && `${site.view}:${site.region}`;

export function matches(one: CaseBrief, { dueBy, patientId, place, verdict }: Filters): boolean {
  const { clinical } = one;
  if (patientId !== null && clinical?.patientId !== patientId) return false;
  if (dueBy !== null && !(clinical?.reminder && clinical.reminder <= dueBy)) return false;
  if (place !== null && placeKey(one.site) !== place) return false;
  return verdict === null || (lastVerdict(one)?.kind ?? "none") === verdict;
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

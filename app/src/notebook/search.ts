/** Finding cases: every word must occur in the title, the notes, the place, a date or a class name. */

import type { CaseWithVisits } from "./cases";

/** Text that a case is found by; `siteName` is the place's name in the person's language. */
function haystack(one: CaseWithVisits, siteName: string): string {
  const visits = one.visits.flatMap((visit) => {
    const best = visit.classes[visit.probabilities.indexOf(Math.max(...visit.probabilities))];
    return [visit.date, visit.note, visit.model.title, best?.code, best?.en, best?.zh];
  });
  return [one.title, one.note, siteName, ...visits].join("\n").toLowerCase();
}

export function searchCases(
  cases: readonly CaseWithVisits[],
  query: string,
  siteName: (one: CaseWithVisits) => string,
): CaseWithVisits[] {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  return cases.filter((one) => {
    const text = haystack(one, siteName(one));
    return words.every((word) => text.includes(word));
  });
}

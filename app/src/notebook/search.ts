/** Finding cases: every word must occur in the title, the notes, the place, a date or a class name. */

import type { CaseBrief } from "./brief";

/** Text that a case is found by; `siteName` is the place's name in the person's language. */
function haystack(one: CaseBrief, siteName: string): string {
  const visits = one.visits.flatMap(({ date, words }) => [date, words]);
  return [one.title, one.note, siteName, ...visits].join("\n").toLowerCase();
}

export function searchCases(
  cases: readonly CaseBrief[],
  query: string,
  siteName: (one: CaseBrief) => string,
): CaseBrief[] {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  return cases.filter((one) => {
    const text = haystack(one, siteName(one));
    return words.every((word) => text.includes(word));
  });
}

/** What lists say of a lesion: its last verdict, and an alarm before it. */

import type { CaseBrief } from "../notebook/brief";
import { lastVerdict } from "../patients/search";
import { EarlierAlarm, VerdictLine } from "./Verdict";

export function LastVerdict({ one }: { one: CaseBrief }) {
  const verdict = lastVerdict(one);
  return (
    <>
      {verdict && <VerdictLine verdict={verdict} />}
      <EarlierAlarm visits={one.visits} />
    </>
  );
}

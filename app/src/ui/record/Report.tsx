/** One lesion on one page of paper, A4 or Letter: photographs, place, answer with its limits, sizes and change. */

import { argmax } from "../../core/probabilities";
import { isAnswer } from "../../core/verdict";
import { className, dayText, percent, siteName, t } from "../../i18n";
import { openCase, type Opened } from "../../notebook/cases";
import type { Visit } from "../../notebook/types";
import { answersOf, visitVerdict } from "../../notebook/verdict";
import { readPatient } from "../../patients/store";
import type { Patient } from "../../patients/types";
import { BodyFigure } from "../BodyMap";
import { Damaged, Kept } from "../Kept";
import { EarlierAlarm, VerdictLine, verdictSentences, visitFacts } from "../Verdict";
import { AnsweredBy, Together } from "../VisitView";
import { MeasureFigures } from "./MeasureFigures";
import { Growth } from "./LesionRecord";
import { Outlined } from "./Outlined";
import { Paper, patientText } from "./Paper";

export function ReportVisit({ visit }: { visit: Visit }) {
  const [photo] = visit.photos;
  const top = argmax(visit.probabilities);
  const verdict = visitVerdict(visit);
  return (
    <div class="report-visit">
      <h2>{dayText(visit.date)}</h2>
      {photo && <Outlined photo={photo} alt={dayText(visit.date)} />}
      {verdict !== null && (
        <>
          <VerdictLine verdict={verdict} />
          <p class="small">{verdictSentences(verdict, visitFacts(visit)).join(" ")}</p>
          {isAnswer(verdict) && (
            <p class="small">{`${className(visit.classes[top])} ${percent(visit.probabilities[top])}`}</p>
          )}
        </>
      )}
      <Together visit={visit} />
      <AnsweredBy visit={visit} />
      {photo?.measure && <MeasureFigures measure={photo.measure} longerSide={Math.max(photo.width, photo.height)} />}
      {visit.note && <p class="visit-note small">{visit.note}</p>}
    </div>
  );
}

function View({ one, damaged, patient }: Shown) {
  const { clinical } = one;
  const visits = one.visits.length > 2 ? [one.visits[0], one.visits[one.visits.length - 1]] : one.visits;
  const left = one.visits.length - visits.length;
  return (
    <Paper
      title={one.title}
      back={{ page: "case", id: one.id }}
      facts={[
        [t("patient"), patient && patientText(patient)],
        [t("bodySite"), one.site && siteName(one.site)],
        [t("diagnosis"), clinical?.diagnosis],
        [t("histology"), clinical?.histology],
        [t("reminder"), clinical?.reminder && dayText(clinical.reminder)],
        [t("note"), one.note],
      ]}
      aside={one.site && <BodyFigure view={one.site.view} site={one.site} />}
      above={<Damaged count={damaged} />}
    >
      <EarlierAlarm visits={answersOf(one.visits)} />
      <div class="report-visits">
        {visits.map((visit) => (
          <ReportVisit key={visit.id} visit={visit} />
        ))}
      </div>
      {left > 0 && <p class="small">{t("reportLeft", { count: left })}</p>}
      <Growth one={one} />
      <p class="report-limits">
        {t("noticeResearch")} {t("reportLimits")} {t("reportSizes")}
      </p>
    </Paper>
  );
}

interface Shown extends Opened {
  patient: Patient | null;
}

async function readReport(id: string): Promise<Shown | null> {
  const opened = await openCase(id);
  const patientId = opened?.one.clinical?.patientId;
  // A damaged patient does not hide the lesion.
  return opened && { ...opened, patient: patientId ? await readPatient(patientId).catch(() => null) : null };
}

export function Report({ id }: { id: string }) {
  return (
    <Kept id={id} read={readReport} gone="caseGone" back="notebook">
      {(found) => <View {...found} />}
    </Kept>
  );
}

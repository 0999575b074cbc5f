/** One lesion on one page of paper, A4 or Letter: photographs, place, answer with its limits, sizes and change. */

import { useSignal } from "@preact/signals";
import { argmax } from "../../core/probabilities";
import { isAnswer } from "../../core/verdict";
import { className, dayText, percent, siteName, t, today } from "../../i18n";
import { openCase, type Opened } from "../../notebook/cases";
import type { Visit } from "../../notebook/types";
import { visitVerdict } from "../../notebook/verdict";
import { readPatient } from "../../patients/store";
import type { Patient } from "../../patients/types";
import { routeHash } from "../../state/route";
import { BlobImage } from "../BlobImage";
import { BodyFigure } from "../BodyMap";
import { Icon } from "../icons";
import { Damaged, Kept } from "../Kept";
import { VerdictLine, verdictSentences, visitFacts } from "../Verdict";
import { AnsweredBy } from "../VisitView";
import { MeasureFigures } from "./MeasureFigures";
import { Growth } from "./LesionRecord";
import { skinTypeText } from "./numbers";

const PAPERS = ["A4", "Letter"] as const;

export function ReportVisit({ visit }: { visit: Visit }) {
  const [photo] = visit.photos;
  const top = argmax(visit.probabilities);
  const verdict = visitVerdict(visit);
  return (
    <div class="report-visit">
      <h2>{dayText(visit.date)}</h2>
      {photo && (
        <div class="slot-image">
          <BlobImage
            blob={photo.image}
            alt={dayText(visit.date)}
            width={photo.width}
            height={photo.height}
            class="kept"
          />
          {photo.measure && (
            <svg viewBox={`0 0 ${photo.width} ${photo.height}`} aria-hidden="true">
              {photo.measure.shapes.map((shape, i) => (
                <polygon key={i} class="outline-line" points={shape.map(({ x, y }) => `${x},${y}`).join(" ")} />
              ))}
            </svg>
          )}
        </div>
      )}
      {verdict !== null && (
        <>
          <VerdictLine verdict={verdict} />
          <p class="small">{verdictSentences(verdict, visitFacts(visit)).join(" ")}</p>
          {isAnswer(verdict) && (
            <p class="small">{`${className(visit.classes[top])} ${percent(visit.probabilities[top])}`}</p>
          )}
        </>
      )}
      <AnsweredBy visit={visit} />
      {photo?.measure && <MeasureFigures measure={photo.measure} longerSide={Math.max(photo.width, photo.height)} />}
      {visit.note && <p class="visit-note small">{visit.note}</p>}
    </div>
  );
}

function View({ one, damaged, patient }: Shown) {
  const paper = useSignal<(typeof PAPERS)[number]>("A4");
  const { clinical } = one;
  const visits = one.visits.length > 2 ? [one.visits[0], one.visits[one.visits.length - 1]] : one.visits;
  const left = one.visits.length - visits.length;
  const facts: [string, string | undefined | null][] = [
    [
      t("patient"),
      patient &&
        [patient.code, patient.birthYear && t("bornIn", { year: patient.birthYear }), skinTypeText(patient.skinType)]
          .filter(Boolean)
          .join(t("listComma")),
    ],
    [t("bodySite"), one.site && siteName(one.site)],
    [t("diagnosis"), clinical?.diagnosis],
    [t("histology"), clinical?.histology],
    [t("reminder"), clinical?.reminder && dayText(clinical.reminder)],
    [t("note"), one.note],
  ];
  return (
    <div class={`page report report-${paper.value.toLowerCase()}`} data-testid="report">
      <div class="section-head no-print">
        <a class="back" href={routeHash({ page: "case", id: one.id })}>
          <Icon name="back" />
          {one.title}
        </a>
        <div class="actions">
          {PAPERS.map((name) => (
            <button
              key={name}
              type="button"
              class="button"
              aria-pressed={paper.value === name}
              onClick={() => (paper.value = name)}
              data-testid={`paper-${name}`}
            >
              {name}
            </button>
          ))}
          <button type="button" class="button button-primary" onClick={() => print()} data-testid="report-print">
            <Icon name="print" />
            {t("print")}
          </button>
        </div>
      </div>
      <Damaged count={damaged} />
      <div class="report-sheet">
        <header class="report-head">
          <div>
            <h1>{one.title}</h1>
            <p class="small">{t("reportMade", { date: dayText(today()) })}</p>
            <dl class="figures">
              {facts.map(([name, value]) =>
                value ? (
                  <>
                    <dt>{name}</dt>
                    <dd>{value}</dd>
                  </>
                ) : null,
              )}
            </dl>
          </div>
          {one.site && <BodyFigure view={one.site.view} site={one.site} />}
        </header>
        <div class="report-visits">
          {visits.map((visit) => (
            <ReportVisit key={visit.id} visit={visit} />
          ))}
        </div>
        {left > 0 && <p class="small">{t("reportLeft", { count: left })}</p>}
        <Growth one={one} />
        <p class="report-limits">
          {t("noticeResearch")} {t("reportLimits")}
        </p>
      </div>
    </div>
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

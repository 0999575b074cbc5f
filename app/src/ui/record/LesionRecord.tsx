/** What a clinician adds to a lesion: patient, diagnosis, histology, reminder; sizes over its dates; the report and FHIR. */

import { useSignal } from "@preact/signals";
import { fhirRecord } from "../../fhir/record";
import { dayText, siteName, t } from "../../i18n";
import { change } from "../../measure/figures";
import type { CaseWithVisits } from "../../notebook/cases";
import { downloadBlob } from "../../notebook/download";
import type { Visit } from "../../notebook/types";
import { calendarFile } from "../../patients/calendar";
import { listPatients, saveClinical, saveMeasure } from "../../patients/store";
import { type Clinical, type Measure, NO_CLINICAL, type Patient } from "../../patients/types";
import { tellError } from "../../state/notices";
import { routeHash } from "../../state/route";
import { KeptDay, KeptText } from "../fields";
import { Icon } from "../icons";
import { useRead } from "../useRead";
import { Curve } from "./Curve";
import { sizesOver } from "./growth";
import { MeasureFigures } from "./MeasureFigures";
import { changeText } from "./numbers";
import { OutlineEditor } from "./OutlineEditor";

const NO_MEASURE: Measure = { target: "dark", shapes: [], proposed: true, scale: null };

/** Whether it went well; what did not is told. */
async function attempt(work: () => Promise<void>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    tellError(error);
    return false;
  }
}

export function reminderFile(one: CaseWithVisits, summary: string): Blob {
  const day = one.clinical!.reminder!;
  return new Blob([calendarFile([{ id: one.id, day, summary }])], { type: "text/calendar" });
}

function ClinicalForm({ one }: { one: CaseWithVisits }) {
  const patients = useSignal<Patient[]>([]);
  useRead(listPatients, (found) => (patients.value = found), tellError);
  const clinical: Clinical = { ...NO_CLINICAL, ...one.clinical };
  const set = (changed: Partial<Clinical>): void => void attempt(() => saveClinical(one.id, changed));
  return (
    <div class="clinical no-print">
      <label class="field">
        <span>{t("patient")}</span>
        <select
          value={clinical.patientId ?? ""}
          onChange={(event) => set({ patientId: event.currentTarget.value || null })}
          data-testid="lesion-patient"
        >
          <option value="">{t("patientNone")}</option>
          {patients.value.map(({ id, code }) => (
            <option key={id} value={id}>
              {code}
            </option>
          ))}
        </select>
      </label>
      <KeptText
        label={t("diagnosis")}
        text={clinical.diagnosis}
        lines={1}
        maxLength={300}
        onKeep={(diagnosis) => set({ diagnosis })}
        testId="diagnosis"
      />
      <KeptText
        label={t("histology")}
        text={clinical.histology}
        lines={1}
        maxLength={1000}
        onKeep={(histology) => set({ histology })}
        testId="histology"
      />
      <div class="outline-row">
        <KeptDay
          label={t("reminder")}
          day={clinical.reminder ?? ""}
          onKeep={(day) => set({ reminder: day || null })}
          testId="reminder"
        />
        {clinical.reminder && (
          <button
            type="button"
            class="button"
            onClick={() => downloadBlob(reminderFile(one, t("reminderSummary")), "lentigo-reminder.ics")}
            data-testid="ics"
          >
            {t("reminderFile")}
          </button>
        )}
      </div>
    </div>
  );
}

function VisitMeasures({ visit }: { visit: Visit }) {
  const editing = useSignal<number | null>(null);
  const index = editing.value;
  return (
    <li class="measure-visit" data-testid="measure-visit">
      <h3>{dayText(visit.date)}</h3>
      {visit.photos.map((photo, i) => (
        <div key={i} class="measure-photo">
          <button type="button" class="button no-print" onClick={() => (editing.value = i)} data-testid="measure">
            {t("measure", { number: i + 1 })}
          </button>
          {photo.measure && <MeasureFigures measure={photo.measure} longerSide={Math.max(photo.width, photo.height)} />}
        </div>
      ))}
      {index !== null && visit.photos[index] && (
        <OutlineEditor
          {...visit.photos[index]}
          measure={visit.photos[index].measure ?? NO_MEASURE}
          onSave={(measure) =>
            void attempt(() => saveMeasure(visit, index, measure)).then((kept) => {
              if (kept) editing.value = null; // or the outline that was drawn would be lost
            })
          }
          onClose={() => (editing.value = null)}
        />
      )}
    </li>
  );
}

/** Growth in a sentence, and as a curve. */
export function Growth({ one }: { one: CaseWithVisits }) {
  const sizes = sizesOver(one.visits);
  if (sizes.length < 2) return null;
  const [before, after] = [sizes[0], sizes[sizes.length - 1]];
  const grown = change(before.area, after.area);
  return (
    <div class="growth">
      <p data-testid="growth">
        {t(grown.clear ? "growthClear" : "growthUnclear", {
          first: dayText(before.day),
          second: dayText(after.day),
          change: changeText(grown),
        })}
      </p>
      <Curve id="growth-curve" label={t("area")} unit="mm²" points={sizes.map(({ day, area }) => ({ day, ...area }))} />
    </div>
  );
}

export function LesionRecord({ one }: { one: CaseWithVisits }) {
  const exportFhir = (): void =>
    void attempt(async () => {
      const patients = await listPatients();
      const record = await fhirRecord({
        patient: patients.find(({ id }) => id === one.clinical?.patientId) ?? null,
        lesions: [one],
        sheets: [],
        placeName: ({ site }) => siteName(site),
      });
      downloadBlob(new Blob([JSON.stringify(record)], { type: "application/fhir+json" }), "lentigo-fhir.json");
    });
  return (
    <section class="lesion-record no-print" data-testid="lesion-record">
      <div class="section-head">
        <h2>{t("recordTitle")}</h2>
        <div class="actions no-print">
          <a class="button" href={routeHash({ page: "report", id: one.id })} data-testid="report-link">
            <Icon name="print" />
            {t("report")}
          </a>
          <button type="button" class="button" onClick={exportFhir} data-testid="fhir">
            <Icon name="export" />
            FHIR
          </button>
        </div>
      </div>
      <ClinicalForm key={one.id} one={one} />
      <ol class="measure-list">
        {one.visits.map((visit) => (
          <VisitMeasures key={visit.id} visit={visit} />
        ))}
      </ol>
      <Growth one={one} />
    </section>
  );
}

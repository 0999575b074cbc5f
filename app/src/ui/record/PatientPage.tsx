/** One patient: the lesions on the body and in a list, the sheets of hypopigmented disease, and what goes out. */

import { useSignal } from "@preact/signals";
import { fhirRecord } from "../../fhir/record";
import { diagnosisName } from "../../hypo/diagnoses";
import { fractionOfRegion } from "../../hypo/fraction";
import { hasTotal, vasi } from "../../hypo/vasi";
import { dayText, language, siteName, t, today } from "../../i18n";
import type { CaseBrief } from "../../notebook/brief";
import { listCases, readCases } from "../../notebook/cases";
import { downloadBlob } from "../../notebook/download";
import type { Case } from "../../notebook/types";
import { deletePatient, listSheets, newSheet, readPatient, saveSheet } from "../../patients/store";
import type { Patient, Sheet } from "../../patients/types";
import { tellDone, tellError } from "../../state/notices";
import { go, routeHash } from "../../state/route";
import { NewLesion } from "../CaseForm";
import { Confirm } from "../Dialog";
import { Icon } from "../icons";
import { Damaged, Kept } from "../Kept";
import { LastVerdict } from "../LastVerdict";
import { AllLesions } from "./AllLesions";
import { Curve } from "./Curve";
import { ExportDialog } from "./ExportDialog";
import { areaCurve, vasiCurve } from "./growth";
import { LongList } from "./LongList";
import { number, skinTypeText } from "./numbers";
import { PatientForm } from "./PatientForm";

interface Loaded {
  patient: Patient;
  lesions: CaseBrief[];
  sheets: Sheet[];
  /** Sheets that cannot be shown. */
  damaged: number;
}

function SheetCard({ sheet }: { sheet: Sheet }) {
  const score = hasTotal(sheet.scores) ? vasi(sheet.scores) : null;
  const fractions = sheet.pairs.flatMap(({ visible }) =>
    visible ? (fractionOfRegion(visible.region, visible.measure.shapes) ?? []) : [],
  );
  return (
    <li>
      <a class="case-card" href={routeHash({ page: "sheet", id: sheet.id })} data-testid="sheet">
        <span class="case-words">
          <strong>{dayText(sheet.date)}</strong>
          {sheet.versionOf && <span class="warning-text">{t("conflict")}</span>}
          <span class="small">
            {[sheet.diagnosis && diagnosisName(sheet.diagnosis, language.value), sheet.treatment]
              .filter(Boolean)
              .join(t("listComma"))}
          </span>
          {score && <span class="small">{`VASI ${number(score.total, 1)}`}</span>}
          {fractions.length > 0 && (
            <span class="small">
              {t("fractionOfRegion", { fraction: fractions.map((fraction) => number(100 * fraction, 1)).join(" / ") })}
            </span>
          )}
        </span>
      </a>
    </li>
  );
}

function View({ patient, lesions, sheets, damaged }: Loaded) {
  const editing = useSignal(false);
  const deleting = useSignal(false);
  const exporting = useSignal(false);
  const facts = [
    patient.birthYear === null ? "" : t("bornIn", { year: patient.birthYear }),
    skinTypeText(patient.skinType),
  ];
  const settled = sheets.filter(({ versionOf }) => versionOf === undefined);
  const readLesions = () => readCases(lesions.map(({ id }) => id));
  const run = (work: () => Promise<void>): void => void work().catch(tellError);
  const add = (): void =>
    run(async () => {
      const sheet = newSheet(patient.id, today());
      const before = sheets.at(-1);
      if (before) sheet.diagnosis = before.diagnosis;
      await saveSheet(sheet);
      go({ page: "sheet", id: sheet.id });
    });
  return (
    <div class="page">
      <a class="back no-print" href={routeHash({ page: "patients" })}>
        <Icon name="back" />
        {t("navPatients")}
      </a>
      <div class="page-head">
        <div>
          <h1>{patient.code}</h1>
          <p class="lead">{facts.filter(Boolean).join(t("listComma"))}</p>
          {patient.note && <p class="visit-note">{patient.note}</p>}
        </div>
        <div class="actions no-print">
          <button type="button" class="button" onClick={() => (editing.value = true)} data-testid="edit-patient">
            <Icon name="edit" />
            {t("edit")}
          </button>
          <button
            type="button"
            class="button"
            onClick={() =>
              run(async () => {
                const { cases, damaged: left } = await readLesions();
                const placeName = ({ site }: Case): string => siteName(site);
                const record = await fhirRecord({ patient, lesions: cases, sheets: settled, placeName });
                downloadBlob(
                  new Blob([JSON.stringify(record)], { type: "application/fhir+json" }),
                  "lentigo-fhir.json",
                );
                if (left + damaged > 0) tellDone("exportedWithout", { count: left + damaged });
              })
            }
            data-testid="fhir"
          >
            <Icon name="export" />
            FHIR
          </button>
          <button type="button" class="button" onClick={() => (exporting.value = true)} data-testid="export-patient">
            <Icon name="export" />
            {t("export")}
          </button>
          <button type="button" class="button" onClick={() => (deleting.value = true)} data-testid="delete-patient">
            <Icon name="trash" />
            {t("delete")}
          </button>
        </div>
      </div>
      <Damaged count={damaged} />
      <section class="patient-section">
        <div class="section-head">
          <h2>{t("lesionCount", { count: lesions.length })}</h2>
          <NewLesion patientId={patient.id} />
        </div>
        <AllLesions lesions={lesions} />
        <LongList items={lesions}>
          {(one) => (
            <li key={one.id}>
              <a class="case-card" href={routeHash({ page: "case", id: one.id })} data-testid="patient-lesion">
                <span class="case-words">
                  <strong>{one.title}</strong>
                  <span class="small">
                    {[siteName(one.site), one.clinical?.diagnosis]
                      .filter((words) => words && words !== one.title)
                      .join(t("listComma"))}
                  </span>
                  <LastVerdict one={one} />
                </span>
                <span class="case-dates small">
                  {t("visitCount", { count: one.visits.length })}
                  {one.clinical?.reminder && <span>{t("nextLook", { date: dayText(one.clinical.reminder) })}</span>}
                </span>
              </a>
            </li>
          )}
        </LongList>
        {lesions.length === 0 && <p class="small">{t("patientNoLesions")}</p>}
      </section>
      <section class="patient-section">
        <div class="section-head">
          <h2>{t("hypoTitle")}</h2>
          <button type="button" class="button button-primary no-print" onClick={add} data-testid="new-sheet">
            {t("newSheet")}
          </button>
        </div>
        <p class="small">{t("hypoLead")}</p>
        <ul class="case-list">
          {[...sheets].reverse().map((sheet) => (
            <SheetCard key={sheet.id} sheet={sheet} />
          ))}
        </ul>
        <div class="curves">
          <Curve id="vasi-curve" label="VASI" unit="" points={vasiCurve(settled)} />
          <Curve id="area-curve" label={t("areaTogether")} unit="mm²" points={areaCurve(settled)} />
        </div>
      </section>
      {editing.value && (
        <PatientForm
          patient={patient}
          onSaved={() => (editing.value = false)}
          onClose={() => (editing.value = false)}
        />
      )}
      {exporting.value && (
        <ExportDialog
          name={`lentigo-patient-${today()}`}
          content={async () => {
            const { cases, damaged: left } = await readLesions();
            return { cases, patients: [patient], sheets, damaged: left + damaged };
          }}
          onClose={() => (exporting.value = false)}
        />
      )}
      {deleting.value && (
        <Confirm
          title={t("deletePatient")}
          text={t("deletePatientText")}
          action={t("delete")}
          onConfirm={() =>
            run(async () => {
              await deletePatient(patient.id);
              go({ page: "patients" });
            })
          }
          onClose={() => (deleting.value = false)}
        />
      )}
    </div>
  );
}

async function readPage(id: string): Promise<Loaded | null> {
  const [patient, { cases }, sheets] = await Promise.all([readPatient(id), listCases(), listSheets(id)]);
  if (patient === null) return null;
  const lesions = cases.filter((one) => one.clinical?.patientId === id);
  return { patient, lesions, sheets: sheets.records, damaged: sheets.damaged };
}

export function PatientPage({ id }: { id: string }) {
  return (
    <Kept id={id} read={readPage} gone="patientGone" back="patients">
      {(found) => <View {...found} />}
    </Kept>
  );
}

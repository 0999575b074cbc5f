/** The patients on this device, with search, and with what is due. */

import { useSignal } from "@preact/signals";
import { dayText, t, today } from "../../i18n";
import type { CaseBrief } from "../../notebook/brief";
import { listCases } from "../../notebook/cases";
import { downloadBlob } from "../../notebook/download";
import { calendarFile } from "../../patients/calendar";
import { matches, NO_FILTERS, type PatientSummary, searchPatients, summaries } from "../../patients/search";
import { listPatients, newPatient, readEverything } from "../../patients/store";
import type { Patient } from "../../patients/types";
import { tellError } from "../../state/notices";
import { go, routeHash } from "../../state/route";
import { SearchBox } from "../fields";
import { Icon } from "../icons";
import { useRead } from "../useRead";
import { ExportDialog } from "./ExportDialog";
import { skinTypeText } from "./numbers";
import { PatientForm } from "./PatientForm";

function Card({ patient, summary }: { patient: Patient; summary: PatientSummary | undefined }) {
  const facts = [
    patient.birthYear === null ? "" : t("bornIn", { year: patient.birthYear }),
    skinTypeText(patient.skinType),
  ];
  return (
    <li>
      <a class="case-card" href={routeHash({ page: "patient", id: patient.id })} data-testid="patient">
        <span class="case-words">
          <strong>{patient.code}</strong>
          <span class="small">{facts.filter(Boolean).join(t("listComma"))}</span>
        </span>
        <span class="case-dates small">
          {t("lesionCount", { count: summary?.lesions ?? 0 })}
          {summary?.reminder && <span>{t("nextLook", { date: dayText(summary.reminder) })}</span>}
        </span>
      </a>
    </li>
  );
}

export function Patients() {
  const patients = useSignal<Patient[] | null>(null);
  const cases = useSignal<CaseBrief[]>([]);
  const query = useSignal("");
  const adding = useSignal<Patient | null>(null);
  const exporting = useSignal(false);
  const isDue = useSignal(false);
  useRead(
    () => Promise.all([listPatients(), listCases()]),
    ([people, lesions]) => {
      patients.value = people;
      cases.value = lesions.cases;
    },
    (error) => {
      tellError(error);
      patients.value ??= []; // what is listed stays
    },
  );
  const summary = summaries(cases.value);
  const due = cases.value.filter((one) => matches(one, { ...NO_FILTERS, dueBy: today() }));
  const withReminder = cases.value.filter((one) => one.clinical?.reminder);
  const all = patients.value;
  const found = all === null ? [] : searchPatients(all, query.value);
  const shown = isDue.value ? found.filter(({ id }) => (summary.get(id)?.reminder ?? "9") <= today()) : found;
  const calendar = (): void => {
    const events = withReminder.map(({ id, clinical }) => ({
      id,
      day: clinical!.reminder!,
      summary: t("reminderSummary"),
    }));
    downloadBlob(new Blob([calendarFile(events)], { type: "text/calendar" }), "lentigo-reminders.ics");
  };
  return (
    <div class="page">
      <div class="page-head">
        <div>
          <h1>{t("navPatients")}</h1>
          <p class="lead">{t("patientsLead")}</p>
        </div>
        <div class="actions">
          <button
            type="button"
            class="button button-primary"
            onClick={() => (adding.value = newPatient(""))}
            data-testid="new-patient"
          >
            {t("newPatient")}
          </button>
          <button type="button" class="button" onClick={() => (exporting.value = true)} data-testid="export-record">
            <Icon name="export" />
            {t("export")}
          </button>
          {withReminder.length > 0 && (
            <button type="button" class="button" onClick={calendar} data-testid="ics-all">
              {t("reminderFile")}
            </button>
          )}
        </div>
      </div>
      {all !== null && all.length > 0 && (
        <SearchBox query={query} hint={t("patientSearchHint")} testId="patient-search" />
      )}
      {due.length > 0 && (
        <label class="question">
          <input
            type="checkbox"
            checked={isDue.value}
            onChange={(event) => (isDue.value = event.currentTarget.checked)}
            data-testid="filter-due"
          />
          <span>{t("filterDue", { count: due.length })}</span>
        </label>
      )}
      {all !== null && shown.length === 0 && (
        <p class="empty">{t(all.length === 0 ? "patientsEmpty" : "searchEmpty")}</p>
      )}
      <ul class="case-list">
        {shown.map((patient) => (
          <Card key={patient.id} patient={patient} summary={summary.get(patient.id)} />
        ))}
      </ul>
      {adding.value !== null && (
        <PatientForm
          patient={adding.value}
          onSaved={({ id }) => go({ page: "patient", id })}
          onClose={() => (adding.value = null)}
        />
      )}
      {exporting.value && (
        <ExportDialog
          name={`lentigo-record-${today()}`}
          content={readEverything}
          onClose={() => (exporting.value = false)}
        />
      )}
    </div>
  );
}

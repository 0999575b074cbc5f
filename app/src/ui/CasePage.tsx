/** One case: its place, its dates, compared, printed, exported or deleted. */

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { dayText, siteName, t, today } from "../i18n";
import {
  type CaseWithVisits,
  changeCase,
  deleteCase,
  deleteVisit,
  openCase,
  type Opened,
  saveVisit,
  settleConflict,
} from "../notebook/cases";
import { downloadBlob } from "../notebook/download";
import { plainVisit } from "../notebook/record";
import { exportCases } from "../notebook/transfer";
import type { Visit } from "../notebook/types";
import { answersOf } from "../notebook/verdict";
import { ageOf, listPatients } from "../patients/store";
import { tellDone, tellError } from "../state/notices";
import { go, routeHash } from "../state/route";
import { clearSession, followUp, known, photos, startOver, tell, tellPlace } from "../state/session";
import { BodyFigure } from "./BodyMap";
import { CaseForm } from "./CaseForm";
import { Compare } from "./Compare";
import { Confirm } from "./Dialog";
import { Icon } from "./icons";
import { cameraOpen } from "./Intake";
import { Damaged, Kept } from "./Kept";
import { LesionRecord, PlainVisit } from "./record/lazy";
import { MeasureFigures } from "./record/MeasureFigures";
import { useRead } from "./useRead";
import { EarlierAlarm } from "./Verdict";
import { VisitView } from "./VisitView";

/** Run a change of the notebook and tell how it went. */
async function attempt(work: () => Promise<void>, done?: "deletedCase" | "deletedVisit" | "saved"): Promise<boolean> {
  try {
    await work();
    if (done) tellDone(done);
    return true;
  } catch (error) {
    tellError(error);
    return false;
  }
}

/** Another version of what is written here, which an import brought. */
function Conflicts({ one }: { one: CaseWithVisits }) {
  const codes = useSignal<ReadonlyMap<string, string>>(new Map());
  useRead(
    listPatients,
    (patients) => (codes.value = new Map(patients.map(({ id, code }) => [id, code]))),
    () => undefined, // told where patients are shown
  );
  return (
    <>
      {(one.conflicts ?? []).map((conflict) => {
        const visit = one.visits.find(({ id }) => id === conflict.visitId);
        const { clinical } = conflict;
        const codeOf = (id: string | null | undefined): string => (id ? (codes.value.get(id) ?? id) : t("patientNone"));
        const written: [label: string, theirs: string | undefined, ours: string | undefined][] = visit
          ? [
              [t("date"), conflict.date && dayText(conflict.date), dayText(visit.date)],
              [t("note"), conflict.note, visit.note],
            ]
          : [
              [t("title"), conflict.title, one.title],
              [t("bodySite"), conflict.site === undefined ? undefined : siteName(conflict.site), siteName(one.site)],
              [t("note"), conflict.note, one.note],
              [t("patient"), clinical && codeOf(clinical.patientId), codeOf(one.clinical?.patientId)],
              [t("diagnosis"), clinical?.diagnosis, one.clinical?.diagnosis],
              [t("histology"), clinical?.histology, one.clinical?.histology],
              [
                t("reminder"),
                clinical && (clinical.reminder ? dayText(clinical.reminder) : ""),
                one.clinical?.reminder ? dayText(one.clinical.reminder) : "",
              ],
            ];
        const other = written.filter(([, theirs, ours]) => theirs !== undefined && theirs !== (ours ?? ""));
        const settle = (use: boolean) => (): void => void attempt(() => settleConflict(one.id, conflict, use), "saved");
        return (
          <section key={JSON.stringify(conflict)} class="problem conflict no-print" data-testid="conflict">
            <div>
              <h2>{t("conflict")}</h2>
              <p class="small">
                {t("conflictText", { date: dayText(visit ? visit.date : conflict.updated.slice(0, 10)) })}
              </p>
              <dl class="facts">
                {other.map(([label, theirs]) => (
                  <div key={label}>
                    <dt>{label}</dt>
                    <dd class="visit-note">{theirs || t("nothingWritten")}</dd>
                  </div>
                ))}
              </dl>
              {conflict.measures?.map(({ photo, measure }) => {
                const at = visit?.photos.findIndex(({ id }, i) => photo === (id ?? i)) ?? -1;
                const shown = visit?.photos[at];
                return (
                  shown && (
                    <div key={photo}>
                      <h3>{t("measuredOther", { number: at + 1 })}</h3>
                      <MeasureFigures measure={measure} longerSide={Math.max(shown.width, shown.height)} />
                    </div>
                  )
                );
              })}
            </div>
            <div class="actions">
              <button type="button" class="button" onClick={settle(true)} data-testid="conflict-use">
                {t("conflictUse")}
              </button>
              <button type="button" class="button" onClick={settle(false)} data-testid="conflict-drop">
                {t("conflictDrop")}
              </button>
            </div>
          </section>
        );
      })}
    </>
  );
}

/** That several models answered, whose numbers are no curve over the dates. */
function Models({ visits }: { visits: readonly Visit[] }) {
  const titles = new Map(
    visits.flatMap(({ model }) =>
      model ? [[model.digest, `${model.title}, ${t("version", { version: model.version })}`] as const] : [],
    ),
  );
  if (titles.size < 2) return null;
  return (
    <p class="problem" data-testid="other-models">
      {t("answeredOthers", { titles: [...titles.values()].join("; ") })}
    </p>
  );
}

function Loaded({ one, damaged }: Opened) {
  const comparing = useSignal(false);
  const editing = useSignal(false);
  const deleting = useSignal<"case" | { visit: Visit } | null>(null);
  const heat = useSignal(0);
  const place = siteName(one.site);
  useEffect(() => {
    document.title = `${one.title} – lentigo`;
  });
  const hasMaps = one.visits.some((visit) => visit.photos.some((photo) => photo.cam !== null));
  const follow = (): void => {
    if (photos.value.length > 0)
      startOver(); // can be brought back
    else clearSession();
    followUp.value = one.id;
    tellPlace(one.site);
    void ageOf(one).then((age) => {
      if (age !== null && followUp.value === one.id && known.value.age === undefined) tell("age", age);
    });
    cameraOpen.value = true;
    go({ page: "check" });
  };
  const addDate = (): void => {
    const { visits: _, ...known } = one;
    void attempt(() => saveVisit(known, plainVisit(one.id, today())));
  };
  const remove = async (): Promise<void> => {
    if (deleting.value === "case") {
      if (await attempt(() => deleteCase(one.id), "deletedCase")) go({ page: "notebook" });
    } else if (deleting.value !== null) {
      const { visit } = deleting.value;
      await attempt(() => deleteVisit(visit), "deletedVisit");
    }
  };
  return (
    <div class="page case-page">
      <a class="back no-print" href={routeHash({ page: "notebook" })}>
        <Icon name="back" />
        {t("navNotebook")}
      </a>
      <div class="case-head">
        <div>
          <h1>{one.title}</h1>
          {one.site !== null && place !== one.title && <p class="lead">{place}</p>}
          {one.note && <p class="visit-note">{one.note}</p>}
          <div class="actions actions-start case-tools no-print">
            <button type="button" class="button button-primary" onClick={follow} data-testid="follow-up">
              <Icon name="camera" />
              {t("followUp")}
            </button>
            <button type="button" class="button" onClick={addDate} data-testid="add-date">
              <Icon name="plus" />
              {t("addDate")}
            </button>
            {one.visits.length > 1 && (
              <button
                type="button"
                class="button"
                aria-pressed={comparing.value}
                onClick={() => (comparing.value = !comparing.value)}
                data-testid="compare-button"
              >
                <Icon name="compare" />
                {t("compare")}
              </button>
            )}
            <button type="button" class="button button-small-screen" onClick={() => (editing.value = true)}>
              <Icon name="edit" />
              <span>{t("edit")}</span>
            </button>
            <button type="button" class="button button-small-screen" onClick={() => print()} data-testid="print">
              <Icon name="print" />
              <span>{t("print")}</span>
            </button>
            <button
              type="button"
              class="button button-small-screen"
              onClick={() => void attempt(async () => downloadBlob(await exportCases([one]), "lentigo-case.json"))}
            >
              <Icon name="export" />
              <span>{t("export")}</span>
            </button>
            <button
              type="button"
              class="button button-small-screen"
              onClick={() => (deleting.value = "case")}
              data-testid="delete-case"
            >
              <Icon name="trash" />
              <span>{t("delete")}</span>
            </button>
          </div>
        </div>
        {one.site !== null && <BodyFigure view={one.site.view} site={one.site} />}
      </div>
      <Damaged count={damaged} />
      <Conflicts one={one} />
      <EarlierAlarm visits={answersOf(one.visits)} />
      {!comparing.value && <Models visits={one.visits} />}
      {hasMaps && (
        <label class="heat-slider no-print">
          <span>{t("heatMap")}</span>
          <input
            type="range"
            min="0"
            max="100"
            value={Math.round(heat.value * 100)}
            onInput={(event) => (heat.value = Number(event.currentTarget.value) / 100)}
          />
        </label>
      )}
      {comparing.value && one.visits.length > 1 ? (
        <Compare visits={one.visits} heat={heat.value} />
      ) : (
        <ol class="visit-list">
          {[...one.visits].reverse().map((visit) => (
            <li key={visit.id}>
              {visit.model === null ? <PlainVisit visit={visit} /> : <VisitView visit={visit} heat={heat.value} />}
              <button type="button" class="button button-quiet no-print" onClick={() => (deleting.value = { visit })}>
                <Icon name="trash" />
                {t("deleteVisit")}
              </button>
            </li>
          ))}
        </ol>
      )}
      <LesionRecord one={one} />
      {editing.value && (
        <CaseForm
          heading={t("editCase")}
          one={one}
          onSave={(facts) => attempt(() => changeCase(one.id, (kept) => ({ ...kept, ...facts })), "saved")}
          onClose={() => (editing.value = false)}
        />
      )}
      {deleting.value !== null && (
        <Confirm
          title={t(deleting.value === "case" ? "deleteCase" : "deleteVisit")}
          text={t(deleting.value === "case" ? "deleteCaseText" : "deleteVisitText")}
          action={t("delete")}
          onConfirm={() => void remove()}
          onClose={() => (deleting.value = null)}
        />
      )}
    </div>
  );
}

export function CasePage({ id }: { id: string }) {
  return (
    <Kept id={id} read={openCase} gone="caseGone" back="notebook">
      {(found) => <Loaded {...found} />}
    </Kept>
  );
}

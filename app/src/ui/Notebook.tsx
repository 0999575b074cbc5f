/** The notebook: every case on this device, found by words, exported, imported and deleted. */

import { signal, useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import { dayText, fileSize, siteName, t, today } from "../i18n";
import type { CaseBrief } from "../notebook/brief";
import { deleteEverything, indexing, listCases, mergeIntoNotebook, readVisit } from "../notebook/cases";
import { storageUse } from "../notebook/database";
import { downloadBlob } from "../notebook/download";
import { searchCases } from "../notebook/search";
import { exportNotebook, importNotebook } from "../notebook/transfer";
import { decrypt, isEncrypted } from "../patients/encryption";
import { clinicalWords, type Filters, matches, NO_FILTERS, placeKey } from "../patients/search";
import { listPatients, readEverything } from "../patients/store";
import type { Visit } from "../notebook/types";
import type { Patient } from "../patients/types";
import { tellDone, tellError } from "../state/notices";
import { routeHash } from "../state/route";
import { BlobImage } from "./BlobImage";
import { NewLesion } from "./CaseForm";
import { Confirm } from "./Dialog";
import { FileInput, SearchBox } from "./fields";
import { Icon } from "./icons";
import { Damaged } from "./Kept";
import { LastVerdict } from "./LastVerdict";
import { PassphraseDialog } from "./record/ExportDialog";
import { LongList } from "./record/LongList";
import { useRead } from "./useRead";

/** A visit, read when its card is shown: the list itself holds no photograph. */
function useVisit(id: string | undefined): Visit | null {
  const visit = useSignal<Visit | null>(null);
  useRead(
    async () => (id === undefined ? null : readVisit(id)),
    (found) => (visit.value = found),
    () => undefined, // the card stands without; the lesion's page tells what is wrong
    [id],
  );
  return visit.value;
}

function CaseCard({ one }: { one: CaseBrief }) {
  const last = one.visits.at(-1);
  const visit = useVisit(last?.id);
  const photo = visit?.photos.at(0);
  return (
    <li>
      <a class="case-card" href={routeHash({ page: "case", id: one.id })} data-testid="case">
        {photo ? (
          <BlobImage blob={photo.image} alt="" width={photo.width} height={photo.height} class="case-thumb" />
        ) : (
          <span class="case-thumb" />
        )}
        <span class="case-words">
          <strong>{one.title}</strong>
          {one.site !== null && siteName(one.site) !== one.title && <span class="small">{siteName(one.site)}</span>}
          {one.conflicts && (
            <span class="small" data-testid="has-conflicts">
              {t("conflictCount", { count: one.conflicts.length })}
            </span>
          )}
          <LastVerdict one={one} />
        </span>
        <span class="case-dates small">
          {last && dayText(last.date)}
          {one.visits.length > 1 && <span>{t("visitCount", { count: one.visits.length })}</span>}
        </span>
      </a>
    </li>
  );
}

function Storage() {
  const use = useSignal<{ used: number; quota: number } | null>(null);
  useRead(
    storageUse,
    (found) => (use.value = found),
    () => undefined,
  );
  if (use.value === null) return null;
  return (
    <p class="small" data-testid="storage">
      {t("storageUse", { used: fileSize(use.value.used), quota: fileSize(use.value.quota) })}
    </p>
  );
}

/** What is looked for stays while a lesion is looked at. */
const query = signal("");
const filters = signal<Filters>(NO_FILTERS);

const VERDICTS = [
  ["above", "verdictAboveShort"],
  ["below", "verdictBelowShort"],
  ["unsure", "cannotTell"],
  ["none", "filterNoVerdict"],
] as const;

interface FilterProps<Value extends string> {
  label: string;
  value: Value | null;
  options: readonly (readonly [value: Value, name: string])[];
  onChange: (value: Value | null) => void;
  testId: string;
}

function Filter<Value extends string>({ label, value, options, onChange, testId }: FilterProps<Value>) {
  return (
    <label class="field">
      <span>{label}</span>
      <select
        value={value ?? ""}
        onChange={(event) => onChange(options.find(([one]) => one === event.currentTarget.value)?.[0] ?? null)}
        data-testid={testId}
      >
        <option value="">{t("filterAny")}</option>
        {options.map(([one, name]) => (
          <option key={one} value={one}>
            {name}
          </option>
        ))}
      </select>
    </label>
  );
}

/** Place, last answer, patient and what is due: each offers what occurs. */
function FilterBar({ cases, patients }: { cases: readonly CaseBrief[]; patients: ReadonlyMap<string, Patient> }) {
  const now = filters.value;
  const set = (changed: Partial<Filters>): void => void (filters.value = { ...now, ...changed });
  const places = new Map(
    cases.flatMap(({ site }) => (site === null ? [] : [[placeKey(site)!, siteName(site)] as const])),
  );
  const isOn = Object.values(now).some((value) => value !== null);
  return (
    <details class="filters no-print" open={isOn} data-testid="filters">
      <summary>{t("filters")}</summary>
      <div class="filter-fields">
        <Filter
          label={t("bodySite")}
          value={now.place}
          options={[...places].sort(([, a], [, b]) => a.localeCompare(b))}
          onChange={(place) => set({ place })}
          testId="filter-place"
        />
        <Filter
          label={t("filterVerdict")}
          value={now.verdict}
          options={VERDICTS.map(([kind, key]) => [kind, t(key)] as const)}
          onChange={(verdict) => set({ verdict })}
          testId="filter-verdict"
        />
        <Filter
          label={t("patient")}
          value={now.patientId}
          options={[...patients.values()].map(({ id, code }) => [id, code] as const)}
          onChange={(patientId) => set({ patientId })}
          testId="filter-patient"
        />
        <label class="question">
          <input
            type="checkbox"
            checked={now.dueBy !== null}
            onChange={(event) => set({ dueBy: event.currentTarget.checked ? today() : null })}
            data-testid="filter-due"
          />
          <span>{t("filterDueLesions")}</span>
        </label>
      </div>
    </details>
  );
}

function Indexing() {
  const now = indexing.value;
  if (now === null) return null;
  return (
    <div class="indexing" role="status" data-testid="indexing">
      <p>{t("indexingText", now)}</p>
      <progress max={now.total} value={now.done} aria-label={t("navNotebook")} />
    </div>
  );
}

export function Notebook() {
  const cases = useSignal<CaseBrief[] | null>(null);
  const patients = useSignal<ReadonlyMap<string, Patient>>(new Map());
  const secret = useSignal<File | null>(null);
  const damaged = useSignal(0);
  const confirming = useSignal(false);
  const input = useRef<HTMLInputElement>(null);
  useRead(
    () => Promise.all([listCases(), listPatients()]),
    ([{ cases: found, damaged: left }, people]) => {
      patients.value = new Map(people.map((one) => [one.id, one]));
      cases.value = found;
      damaged.value = left;
    },
    (error) => {
      tellError(error);
      cases.value ??= []; // what is listed stays
    },
  );

  const exportAll = async (): Promise<void> => {
    try {
      const { damaged: left, ...records } = await readEverything();
      downloadBlob(await exportNotebook(records), `lentigo-notebook-${new Date().toISOString().slice(0, 10)}.json`);
      if (left > 0) tellDone("exportedWithout", { count: left });
    } catch (error) {
      tellError(error);
    }
  };
  const importContent = async (content: Blob): Promise<void> => {
    const found = await importNotebook(content);
    const merged = await mergeIntoNotebook(found.cases, found.patients, found.sheets);
    const { added, updated, unchanged, conflicts, others = 0 } = merged;
    tellDone(conflicts > 0 ? "importedConflicts" : "imported", { added, updated, unchanged, conflicts });
    if (others > 0) tellDone("importedOthers", { count: others });
  };
  const importFile = async (file: File | undefined): Promise<void> => {
    if (file === undefined) return;
    try {
      if (await isEncrypted(file)) {
        secret.value = file;
        return;
      }
      await importContent(file);
    } catch (error) {
      tellError(error, file.name);
    }
  };
  const importSecret = async (file: File, passphrase: string): Promise<void> => {
    try {
      await importContent(await decrypt(file, passphrase));
      secret.value = null;
    } catch (error) {
      tellError(error, file.name);
    }
  };
  const deleteAll = async (): Promise<void> => {
    try {
      await deleteEverything();
      tellDone("deletedAll");
    } catch (error) {
      tellError(error);
    }
  };

  const all = cases.value;
  const shown = searchCases(
    (all ?? []).filter((one) => matches(one, filters.value)),
    query.value,
    (one) => `${siteName(one.site)}\n${clinicalWords(one, patients.value)}`,
  );
  const showAll = (): void => {
    query.value = "";
    filters.value = NO_FILTERS;
  };
  return (
    <div class="page">
      <div class="page-head">
        <div>
          <h1>{t("navNotebook")}</h1>
          <p class="lead">{t("notebookLead")}</p>
        </div>
        <div class="actions">
          <NewLesion />
          <button type="button" class="button" onClick={() => input.current!.click()}>
            <Icon name="import" />
            {t("import")}
          </button>
          <FileInput
            input={input}
            accept="application/json,.json"
            testId="import-input"
            onFiles={([file]) => void importFile(file)}
          />
          <button
            type="button"
            class="button"
            disabled={!all?.length}
            onClick={() => void exportAll()}
            data-testid="export"
          >
            <Icon name="export" />
            {t("export")}
          </button>
        </div>
      </div>
      {all !== null && all.length > 0 && (
        <>
          <SearchBox query={query} hint={t("searchHint")} testId="search" />
          <FilterBar cases={all} patients={patients.value} />
          {shown.length < all.length && (
            <p class="small shown-of" role="status" data-testid="shown-of">
              {t("shownOf", { shown: shown.length, count: all.length })}
              <button type="button" class="button button-quiet" onClick={showAll} data-testid="show-all">
                {t("showAll")}
              </button>
            </p>
          )}
        </>
      )}
      {all === null && <Indexing />}
      <Damaged count={damaged.value} />
      {all !== null && shown.length === 0 && (
        <p class="empty" data-testid="no-cases">
          {t(all.length === 0 ? "notebookEmpty" : "searchEmpty")}
        </p>
      )}
      <LongList items={shown}>{(one) => <CaseCard key={one.id} one={one} />}</LongList>
      {all !== null && (
        <div class="page-end">
          <Storage />
          {all.length > 0 && (
            <button
              type="button"
              class="button button-quiet"
              onClick={() => (confirming.value = true)}
              data-testid="delete-all"
            >
              <Icon name="trash" />
              {t("deleteAll")}
            </button>
          )}
        </div>
      )}
      {secret.value !== null && (
        <PassphraseDialog
          onGiven={(passphrase) => void importSecret(secret.value!, passphrase)}
          onClose={() => (secret.value = null)}
        />
      )}
      {confirming.value && (
        <Confirm
          title={t("deleteAll")}
          text={t("deleteAllText")}
          action={t("deleteAll")}
          onConfirm={() => void deleteAll()}
          onClose={() => (confirming.value = false)}
        />
      )}
    </div>
  );
}

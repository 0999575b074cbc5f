/** The notebook: every case on this device, found by words, exported, imported and deleted. */

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { dayText, fileSize, siteName, t } from "../i18n";
import type { CaseBrief } from "../notebook/brief";
import { deleteEverything, listCases, mergeIntoNotebook, readVisit, revision } from "../notebook/cases";
import { storageUse } from "../notebook/database";
import { downloadBlob } from "../notebook/download";
import { searchCases } from "../notebook/search";
import { exportNotebook, importNotebook } from "../notebook/transfer";
import { decrypt, isEncrypted } from "../patients/encryption";
import { clinicalWords } from "../patients/search";
import { listPatients, mergeRecords, readEverything } from "../patients/store";
import type { Visit } from "../notebook/types";
import { visitVerdict } from "../notebook/verdict";
import type { Patient } from "../patients/types";
import { tellDone, tellError } from "../state/notices";
import { routeHash } from "../state/route";
import { BlobImage } from "./BlobImage";
import { Confirm } from "./Dialog";
import { Icon } from "./icons";
import { Damaged } from "./Kept";
import { PassphraseDialog } from "./record/ExportDialog";
import { LongList } from "./record/LongList";
import { VerdictLine } from "./Verdict";

/** A visit, read when its card is shown: the list itself holds no photograph. */
function useVisit(id: string | undefined): Visit | null {
  const visit = useSignal<Visit | null>(null);
  useEffect(() => {
    let current = true;
    if (id === undefined) visit.value = null;
    else {
      readVisit(id).then(
        (found) => current && (visit.value = found),
        () => undefined, // the card stands without; the lesion's page tells what is wrong
      );
    }
    return () => {
      current = false;
    };
  }, [id, revision.value]);
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
          {visit && <VerdictLine verdict={visitVerdict(visit)} />}
        </span>
        <span class="case-dates small">
          {last && dayText(last.date)}
          {one.visits.length > 1 && <span>{t("visitCount", { count: one.visits.length })}</span>}
        </span>
      </a>
    </li>
  );
}

function Storage({ count }: { count: number }) {
  const use = useSignal<{ used: number; quota: number } | null>(null);
  useEffect(() => {
    void storageUse().then((found) => (use.value = found));
  }, [count, revision.value]);
  if (use.value === null) return null;
  return (
    <p class="small" data-testid="storage">
      {t("storageUse", { used: fileSize(use.value.used), quota: fileSize(use.value.quota) })}
    </p>
  );
}

export function Notebook() {
  const cases = useSignal<CaseBrief[] | null>(null);
  const patients = useSignal<ReadonlyMap<string, Patient>>(new Map());
  const secret = useSignal<File | null>(null);
  const damaged = useSignal(0);
  const query = useSignal("");
  const confirming = useSignal(false);
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    Promise.all([listCases(), listPatients()]).then(
      ([{ cases: found, damaged: left }, people]) => {
        patients.value = new Map(people.map((one) => [one.id, one]));
        cases.value = found;
        damaged.value = left;
      },
      (error: unknown) => {
        tellError(error);
        cases.value = [];
      },
    );
  }, [revision.value]);

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
    await mergeRecords(found.patients, found.sheets);
    const { added, updated, unchanged, conflicts } = await mergeIntoNotebook(found.cases);
    tellDone(conflicts > 0 ? "importedConflicts" : "imported", { added, updated, unchanged, conflicts });
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
  const shown =
    all === null
      ? []
      : searchCases(all, query.value, (one) => `${siteName(one.site)}\n${clinicalWords(one, patients.value)}`);
  return (
    <div class="page">
      <div class="page-head">
        <div>
          <h1>{t("navNotebook")}</h1>
          <p class="lead">{t("notebookLead")}</p>
        </div>
        <div class="actions">
          <button type="button" class="button" onClick={() => input.current!.click()}>
            <Icon name="import" />
            {t("import")}
          </button>
          <input
            ref={input}
            type="file"
            accept="application/json,.json"
            hidden
            data-testid="import-input"
            onChange={(event) => {
              void importFile(event.currentTarget.files?.[0]);
              event.currentTarget.value = "";
            }}
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
        <label class="search">
          <span class="visually-hidden">{t("search")}</span>
          <Icon name="search" />
          <input
            type="search"
            value={query.value}
            placeholder={t("searchHint")}
            onInput={(event) => (query.value = event.currentTarget.value)}
            data-testid="search"
          />
        </label>
      )}
      <Damaged count={damaged.value} />
      {all !== null && shown.length === 0 && (
        <p class="empty" data-testid="no-cases">
          {t(all.length === 0 ? "notebookEmpty" : "searchEmpty")}
        </p>
      )}
      <LongList items={shown}>{(one) => <CaseCard key={one.id} one={one} />}</LongList>
      {all !== null && (
        <div class="page-end">
          <Storage count={all.length} />
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

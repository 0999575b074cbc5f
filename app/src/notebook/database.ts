/** The device's own database: cases, their visits, checks under way, and bundles that the person loaded. */

import { type DBSchema, type IDBPDatabase, type IDBPTransaction, openDB, type StoreNames } from "idb";
import { AppError } from "../core/errors";
import type { Edit } from "../core/geometry";
import type { Known } from "../core/metadata";
import type { Concern } from "../core/verdict";
import type { Patient, Sheet } from "../patients/types";
import type { Words } from "../state/session";
import type { Shard } from "./brief";
import type { Case, Visit } from "./types";
import { isWhole, type RecordKind } from "./whole";

export interface StoredBundle {
  name: string;
  spec: string;
  /** SHA-256 of `spec`. */
  digest: string;
  files: Record<string, Blob>;
}

/** A check under way, so that a reload or a closed tab loses no photograph. */
export interface Draft {
  id: string;
  /** ISO 8601 instant. */
  saved: string;
  photos: { key: number; name: string; edit: Edit }[];
  concerns: Concern[];
  /** Age, sex and site; missing in older drafts. */
  known?: Known;
  /** The case that is followed up. */
  followUp: string | null;
  /** What the dialog that saves it says; missing in older drafts. */
  words?: Words | null;
}

/** A photograph of a draft as it came in. */
export interface DraftPhoto {
  draft: string;
  key: number;
  blob: Blob;
}

interface Schema extends DBSchema {
  cases: { key: string; value: Case };
  visits: { key: string; value: Visit; indexes: { case: string } };
  index: { key: number; value: Shard };
  bundles: { key: string; value: StoredBundle };
  drafts: { key: string; value: Draft };
  draftPhotos: { key: [string, number]; value: DraftPhoto };
  patients: { key: string; value: Patient };
  sheets: { key: string; value: Sheet; indexes: { patient: string } };
}

export type Database = IDBPDatabase<Schema>;

export type StoreName = StoreNames<Schema>;

/** A transaction that writes to these stores. */
export type Writing<Name extends StoreName> = IDBPTransaction<Schema, Name[], "readwrite">;

const VERSION = 5;

let opening: Promise<Database> | null = null;

/** @throws AppError: the browser keeps no database (private window, blocked site data) */
export function database(): Promise<Database> {
  return (opening ??= open());
}

async function open(): Promise<Database> {
  try {
    return await openDB<Schema>("lentigo", VERSION, {
      upgrade(db, before) {
        if (before < 1) {
          db.createObjectStore("cases", { keyPath: "id" });
          db.createObjectStore("visits", { keyPath: "id" }).createIndex("case", "caseId");
          db.createObjectStore("bundles", { keyPath: "name" });
        }
        if (before < 2) {
          db.createObjectStore("drafts", { keyPath: "id" });
          db.createObjectStore("draftPhotos", { keyPath: ["draft", "key"] });
        }
        if (before < 3) {
          db.createObjectStore("patients", { keyPath: "id" });
          db.createObjectStore("sheets", { keyPath: "id" }).createIndex("patient", "patientId");
        }
        // Filled when the notebook is listed (see cases.ts), not here: one visit that cannot be read would undo all of this.
        if (before === 4) (db as unknown as IDBPDatabase).deleteObjectStore("briefs"); // an index of one record a visit
        if (before < 5) db.createObjectStore("index", { keyPath: "number" });
      },
      blocking(_before, _wanted, event) {
        (event.target as IDBDatabase).close(); // another tab has a newer version of the app
        opening = null;
      },
      terminated() {
        opening = null;
      },
    });
  } catch {
    opening = null;
    throw new AppError("storageUnavailable");
  }
}

/** Put a storage error into words. */
export function storageError(error: unknown, otherwise: "storageFailed" | "storageUnread" = "storageFailed"): unknown {
  if (error instanceof DOMException) {
    if (error.name === "QuotaExceededError") return new AppError("storageFull");
    if (error.name === "AbortError") return new AppError("storageFull"); // how some browsers end a transaction at the limit
    return new AppError(otherwise, { detail: error.message });
  }
  return error;
}

/** Read from the database; what goes wrong is told in words. */
export async function read<Found>(work: (db: Database) => Promise<Found>): Promise<Found> {
  try {
    return await work(await database());
  } catch (error) {
    throw storageError(error, "storageUnread");
  }
}

/**
 * Write to the database in one transaction: it happens whole, or not at all and is told in words.
 *
 * @param work awaits one request after the other
 */
export async function write<Name extends StoreName>(
  stores: Name[],
  work: (transaction: Writing<Name>) => Promise<void>,
): Promise<void> {
  try {
    const transaction = (await database()).transaction(stores, "readwrite");
    transaction.done.catch(() => undefined); // told below
    try {
      await work(transaction);
    } catch (error) {
      try {
        transaction.abort(); // or what was written before the error would stay
      } catch {
        // it has ended by itself
      }
      throw error;
    }
    await transaction.done;
  } catch (error) {
    throw storageError(error);
  }
}

const STORES = { case: "cases", visit: "visits", patient: "patients", sheet: "sheets" } as const;

interface Kept {
  case: Case;
  visit: Visit;
  patient: Patient;
  sheet: Sheet;
}

/** Records of a kind, and how many of them are damaged. One that cannot be read does not hide the others. */
export interface Found<Kind extends RecordKind> {
  records: Kept[Kind][];
  damaged: number;
}

/** Read the records of these keys, each by itself. */
export async function readEach<Kind extends RecordKind>(kind: Kind, keys: readonly string[]): Promise<Found<Kind>> {
  const db = await database();
  const found = await Promise.allSettled(keys.map((key) => db.get(STORES[kind], key)));
  const records = found.flatMap((one) =>
    one.status === "fulfilled" && isWhole(kind, one.value) ? [one.value as Kept[Kind]] : [],
  );
  return { records, damaged: keys.length - records.length };
}

/** Read every record of a kind: at once, or where that fails, each by itself. */
export async function readAll<Kind extends RecordKind>(kind: Kind): Promise<Found<Kind>> {
  const db = await database();
  try {
    const found = await db.getAll(STORES[kind]);
    const records = found.filter((one) => isWhole(kind, one)) as Kept[Kind][];
    return { records, damaged: found.length - records.length };
  } catch {
    return readEach(kind, await db.getAllKeys(STORES[kind]));
  }
}

/** Space this app takes on the device, in bytes; null where the browser does not say. */
export async function storageUse(): Promise<{ used: number; quota: number } | null> {
  try {
    const { usage, quota } = await navigator.storage.estimate();
    return usage === undefined || quota === undefined ? null : { used: usage, quota };
  } catch {
    return null;
  }
}

/** Ask the browser not to clear the notebook when space runs short; it may say no. */
export async function keepStorage(): Promise<void> {
  try {
    await navigator.storage.persist();
  } catch {
    // not offered here
  }
}

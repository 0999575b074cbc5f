/** The device's own database: cases, their visits, checks under way, and bundles that the person loaded. */

import { type DBSchema, type IDBPDatabase, openDB } from "idb";
import { AppError } from "../core/errors";
import type { Edit } from "../core/geometry";
import type { Concern } from "../core/verdict";
import type { Patient, Sheet } from "../patients/types";
import type { Case, Visit } from "./types";

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
  /** The case that is followed up. */
  followUp: string | null;
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
  bundles: { key: string; value: StoredBundle };
  drafts: { key: string; value: Draft };
  draftPhotos: { key: [string, number]; value: DraftPhoto };
  patients: { key: string; value: Patient };
  sheets: { key: string; value: Sheet; indexes: { patient: string } };
}

export type Database = IDBPDatabase<Schema>;

const VERSION = 3;

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
export function storageError(error: unknown): unknown {
  if (error instanceof DOMException) {
    if (error.name === "QuotaExceededError") return new AppError("storageFull");
    if (error.name === "AbortError") return new AppError("storageFull"); // how some browsers end a transaction at the limit
    return new AppError("storageFailed", { detail: error.message });
  }
  return error;
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

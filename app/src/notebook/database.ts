/** The device's own database: cases, their visits, and bundles that the person loaded. */

import { type DBSchema, type IDBPDatabase, openDB } from "idb";
import { AppError } from "../core/errors";
import type { Case, Visit } from "./types";

export interface StoredBundle {
  name: string;
  spec: string;
  /** SHA-256 of `spec`. */
  digest: string;
  files: Record<string, Blob>;
}

interface Schema extends DBSchema {
  cases: { key: string; value: Case };
  visits: { key: string; value: Visit; indexes: { case: string } };
  bundles: { key: string; value: StoredBundle };
}

export type Database = IDBPDatabase<Schema>;

let opening: Promise<Database> | null = null;

/** @throws AppError: the browser keeps no database (private window, blocked site data) */
export function database(): Promise<Database> {
  return (opening ??= open());
}

async function open(): Promise<Database> {
  try {
    return await openDB<Schema>("lentigo", 1, {
      upgrade(db) {
        db.createObjectStore("cases", { keyPath: "id" });
        db.createObjectStore("visits", { keyPath: "id" }).createIndex("case", "caseId");
        db.createObjectStore("bundles", { keyPath: "name" });
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

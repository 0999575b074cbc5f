/** Where a model's files are kept: bundles that the person loaded, in the device's database. */

import { AppError } from "../core/errors";
import { parseSpec, SPEC } from "../core/spec";
import { database, storageError, type StoredBundle } from "../notebook/database";
import type { BundleSource } from "../worker/protocol";
import { deviceEntry, type ModelEntry } from "./catalogue";

function entryOf(stored: StoredBundle): ModelEntry {
  const bytes = Object.values(stored.files).reduce((sum, file) => sum + file.size, 0);
  return deviceEntry(parseSpec(stored.spec), stored.digest, bytes);
}

/** The models that the person loaded; none where the browser keeps no database. */
export async function listStored(): Promise<ModelEntry[]> {
  try {
    return (await (await database()).getAll("bundles")).map(entryOf);
  } catch {
    return []; // the packaged models work without storage
  }
}

/** Read a bundle from files without keeping it. @throws AppError: no valid bundle in there */
export async function unpackBundle(files: readonly File[]): Promise<StoredBundle> {
  const { digest, readBundle } = await import("../core/bundle"); // unpacking and checksums: only here
  const bundle = await readBundle(files);
  return {
    name: bundle.spec.name,
    spec: bundle.specText,
    digest: await digest(new TextEncoder().encode(bundle.specText)),
    files: Object.fromEntries(Object.entries(bundle.files).map(([name, bytes]) => [name, new Blob([bytes])])),
  };
}

/** Keep a bundle in the place of one of its name. @throws AppError: no space, or no database */
export async function storeBundle(stored: StoredBundle): Promise<ModelEntry> {
  try {
    await (await database()).put("bundles", stored);
  } catch (error) {
    throw storageError(error);
  }
  return entryOf(stored);
}

/** @throws AppError: the database cannot be written */
export async function deleteBundle(name: string): Promise<void> {
  try {
    await (await database()).delete("bundles", name);
  } catch (error) {
    throw storageError(error);
  }
}

/** What the worker opens. @throws AppError: a loaded model is no longer on this device */
export async function sourceOf(entry: ModelEntry): Promise<BundleSource> {
  if (entry.origin !== "device") {
    const base = new URL(`bundles/${entry.name}/`, document.baseURI).href;
    return { kind: "url", base, digests: { ...entry.files, [SPEC]: entry.digest } };
  }
  const stored = await (await database()).get("bundles", entry.name);
  if (stored === undefined) throw new AppError("bundleNotFound");
  return { kind: "files", spec: stored.spec, files: stored.files };
}

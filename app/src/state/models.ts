/** The models: those that came with the app, those the person loaded, and the one in use. */

import { signal } from "@preact/signals";
import * as v from "valibot";
import { digest, readBundle } from "../core/bundle";
import { AppError, type PlainError, plainError } from "../core/errors";
import { parseSpec, type Spec } from "../core/spec";
import { t } from "../i18n";
import { database, storageError, type StoredBundle } from "../notebook/database";
import type { BundleSource } from "../worker/protocol";
import { engine } from "./engine";
import { tellError } from "./notices";
import { readSetting, writeSetting } from "./storage";

const packagedSchema = v.object({
  default: v.nullable(v.string()),
  bundles: v.array(
    v.object({
      name: v.string(),
      title: v.string(),
      version: v.string(),
      domain: v.picklist(["dermoscopy", "clinical", "phantom"]),
      weights: v.string(),
      classes: v.array(v.object({ en: v.string(), zh: v.string() })),
      bytes: v.number(),
      specDigest: v.string(),
      files: v.record(v.string(), v.string()),
    }),
  ),
});

export interface ModelEntry {
  /** Unique: a packaged and a loaded bundle may have the same name. */
  id: string;
  origin: "packaged" | "device";
  name: string;
  title: string;
  version: string;
  domain: Spec["domain"];
  weights: string;
  /** Plain names of the classes it tells apart. */
  classes: { en: string; zh: string }[];
  bytes: number;
  /** SHA-256 of its spec.json. */
  digest: string;
  /** SHA-256 of its other files, where they are to be fetched. */
  files?: Record<string, string>;
}

export type ModelState =
  | { kind: "starting" }
  | { kind: "none" }
  | { kind: "loading"; entry: ModelEntry }
  | { kind: "ready"; entry: ModelEntry; spec: Spec; card: string }
  | { kind: "failed"; entry: ModelEntry | null; error: PlainError };

const DOMAIN_NAMES = { dermoscopy: "domainDermoscopy", clinical: "domainClinical", phantom: "domainPhantom" } as const;

export const entries = signal<ModelEntry[]>([]);
export const model = signal<ModelState>({ kind: "starting" });

/** List the models and load the one chosen last, or the default. */
export async function startModels(): Promise<void> {
  model.value = { kind: "starting" };
  let chosen: string | null = null;
  try {
    const packaged = await listPackaged();
    entries.value = packaged.entries;
    chosen = packaged.default;
  } catch (error) {
    model.value = { kind: "failed", entry: null, error: plainError(error) };
  }
  const stored = readSetting("model");
  const first = stored ?? chosen;
  if (first !== null && entries.value.some((entry) => entry.id === first)) {
    await Promise.all([useModel(first), addLoaded()]); // a packaged model does not wait for the database
    return;
  }
  await addLoaded();
  const wanted = [stored, chosen, entries.value[0]?.id].find((id) => entries.value.some((entry) => entry.id === id));
  if (wanted !== undefined && wanted !== null) await useModel(wanted);
  else if (model.value.kind === "starting") model.value = { kind: "none" };
}

async function listPackaged(): Promise<{ default: string | null; entries: ModelEntry[] }> {
  let index: v.InferOutput<typeof packagedSchema>;
  try {
    const response = await fetch("bundles/index.json");
    if (!response.ok) throw new Error(response.statusText);
    index = v.parse(packagedSchema, await response.json());
  } catch {
    throw new AppError("bundleUnreachable", { file: "bundles/index.json" });
  }
  return {
    default: index.default === null ? null : `packaged:${index.default}`,
    entries: index.bundles.map(({ specDigest, ...rest }) => ({
      ...rest,
      id: `packaged:${rest.name}`,
      origin: "packaged",
      digest: specDigest,
    })),
  };
}

/** Add the models that the person loaded to the list. */
async function addLoaded(): Promise<void> {
  try {
    const loaded = (await (await database()).getAll("bundles")).map(entryOf);
    const fresh = loaded.filter(({ id }) => !entries.value.some((entry) => entry.id === id));
    entries.value = [...entries.value, ...fresh];
  } catch {
    // no storage: the packaged models work without it
  }
}

function entryOf(stored: StoredBundle): ModelEntry {
  const spec = parseSpec(stored.spec);
  return {
    id: `device:${stored.name}`,
    origin: "device",
    name: spec.name,
    title: spec.title,
    version: spec.version,
    domain: spec.domain,
    weights: spec.weights,
    classes: spec.classes.map(({ en, zh }) => ({ en, zh })),
    bytes: Object.values(stored.files).reduce((sum, file) => sum + file.size, 0),
    digest: stored.digest,
  };
}

async function sourceOf(entry: ModelEntry): Promise<BundleSource> {
  if (entry.origin === "packaged") {
    const base = new URL(`bundles/${entry.name}/`, document.baseURI).href;
    return { kind: "url", base, specDigest: entry.digest, ...(entry.files && { files: entry.files }) };
  }
  const stored = await (await database()).get("bundles", entry.name);
  if (stored === undefined) throw new AppError("bundleNotFound");
  return { kind: "files", spec: stored.spec, files: stored.files };
}

/** What a model is called: the person's own by its title, those that came with the app by what they are for. */
export function modelName(entry: ModelEntry): string {
  if (entry.origin === "device") return entry.title;
  return t("modelName", { domain: t(DOMAIN_NAMES[entry.domain]), count: entry.classes.length });
}

const ENDED: ReadonlySet<string> = new Set(["workerEnded", "workerFailed"]); // the worker is gone, and its model with it

let latest = 0; // of several choices in a row only the last is shown

/** What the worker holds. */
let loaded: Extract<ModelState, { kind: "ready" }> | null = null;

/** Load a model and use it from now on; where that fails, the model in use stays. */
export async function useModel(id: string): Promise<void> {
  const entry = entries.value.find((candidate) => candidate.id === id);
  if (entry === undefined) return;
  const turn = ++latest;
  model.value = { kind: "loading", entry };
  try {
    const { spec, card } = await engine.call("open", await sourceOf(entry));
    loaded = { kind: "ready", entry, spec, card };
    if (turn !== latest) return;
    writeSetting("model", id);
    model.value = loaded;
  } catch (error) {
    const plain = plainError(error);
    if (ENDED.has(plain.key)) loaded = null;
    if (turn !== latest) return;
    if (loaded !== null) tellError(error, modelName(entry));
    model.value = loaded ?? { kind: "failed", entry, error: plain };
  }
}

/** Start over with a fresh worker: a runtime that failed to start cannot be started again in the same one. */
export async function retryModel(): Promise<void> {
  engine.stop();
  loaded = null;
  await startModels();
}

/**
 * Keep a bundle from files on this device and use it.
 *
 * @throws AppError: no valid bundle in there, or no space to keep it
 */
export async function loadBundle(files: readonly File[]): Promise<ModelEntry> {
  const bundle = await readBundle(files);
  const stored: StoredBundle = {
    name: bundle.spec.name,
    spec: bundle.specText,
    digest: await digest(new TextEncoder().encode(bundle.specText)),
    files: Object.fromEntries(Object.entries(bundle.files).map(([name, bytes]) => [name, new Blob([bytes])])),
  };
  try {
    await (await database()).put("bundles", stored);
  } catch (error) {
    throw storageError(error);
  }
  const entry = entryOf(stored);
  entries.value = [...entries.value.filter((other) => other.id !== entry.id), entry];
  await useModel(entry.id);
  return entry;
}

/** Remove a bundle that was loaded from a file. */
export async function removeBundle(entry: ModelEntry): Promise<void> {
  try {
    await (await database()).delete("bundles", entry.name);
  } catch (error) {
    tellError(storageError(error));
    return;
  }
  entries.value = entries.value.filter((other) => other.id !== entry.id);
  const inUse = "entry" in model.value && model.value.entry?.id === entry.id;
  if (!inUse) return;
  loaded = null;
  const next = entries.value[0];
  if (next === undefined) model.value = { kind: "none" };
  else await useModel(next.id);
}

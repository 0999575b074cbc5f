/** The choice: which model is in use. It follows how the photographs are taken (dermatoscope or plain camera). */

import { batch, computed, signal } from "@preact/signals";
import { type PlainError, plainError } from "../core/errors";
import type { Spec } from "../core/spec";
import { type Capture, CAPTURES, DOMAIN_OF, fits } from "../core/verdict";
import type { StoredBundle } from "../notebook/database";
import { deleteBundle, listStored, sourceOf, storeBundle } from "./bundles";
import { entries, listPackaged, type ModelEntry, modelName } from "./catalogue";
import { engine } from "./engine";
import { tellError } from "./notices";
import { readSetting, writeSetting } from "./storage";

export type ModelState =
  | { kind: "starting" }
  | { kind: "none" }
  | { kind: "loading"; entry: ModelEntry }
  | { kind: "ready"; entry: ModelEntry; spec: Spec; card: string }
  | { kind: "failed"; entry: ModelEntry | null; error: PlainError };

export const model = signal<ModelState>({ kind: "starting" });

function initialCapture(): Capture | null {
  const stored = readSetting("capture");
  return CAPTURES.find((known) => known === stored) ?? null;
}

/** How the person's photographs are taken; null until they have said so. */
export const capture = signal<Capture | null>(initialCapture());

/** Nothing is classified before the person has said how the photographs are taken; drawn images need no answer. */
export const captureUnknown = computed(() => {
  const state = model.value;
  return capture.value === null && "entry" in state && state.entry !== null && state.entry.domain !== "phantom";
});

/** The model that a kind of photograph is for: the one chosen last, the default, or the first. */
function modelFor(taken: Capture): ModelEntry | undefined {
  const domain = DOMAIN_OF[taken];
  const fitting = entries.value.filter((entry) => entry.domain === domain);
  const preferred = [readSetting(`model.${domain}`), packagedDefault];
  return preferred.flatMap((id) => fitting.find((entry) => entry.id === id) ?? []).at(0) ?? fitting[0];
}

/** Remember how photographs are taken, and use a model made for that kind where there is one. */
export async function chooseCapture(taken: Capture): Promise<void> {
  const state = model.value;
  const domain = "entry" in state ? state.entry?.domain : undefined;
  const next = domain !== undefined && fits(domain, taken) ? undefined : modelFor(taken);
  writeSetting("capture", taken);
  await batch(() => {
    // The model is set to load before the answer is there, so that the one before does not get these photographs.
    const loading = next === undefined ? undefined : useModel(next.id);
    capture.value = taken;
    return loading;
  });
}

let packagedDefault: string | null = null;

/** The default that this server was started with; one that is not the last time's comes before the person's choice. */
let offer = "";

/** List the models and load the one chosen last, or the default. */
export async function startModels(): Promise<void> {
  model.value = { kind: "starting" };
  try {
    const packaged = await listPackaged();
    entries.value = packaged.entries;
    packagedDefault = packaged.default;
    offer = packaged.offer;
  } catch (error) {
    model.value = { kind: "failed", entry: null, error: plainError(error) };
  }
  const stored = offer === "" || offer === readSetting("offer") ? readSetting("model") : null;
  const first = stored ?? packagedDefault;
  if (first !== null && entries.value.some((entry) => entry.id === first)) {
    await Promise.all([useModel(first), addStored()]); // a packaged model does not wait for the database
    return;
  }
  await addStored();
  const wanted = [stored, packagedDefault, entries.value[0]?.id].find((id) =>
    entries.value.some((entry) => entry.id === id),
  );
  if (wanted !== undefined && wanted !== null) await useModel(wanted);
  else if (model.value.kind === "starting") model.value = { kind: "none" };
}

async function addStored(): Promise<void> {
  const stored = await listStored();
  const fresh = stored.filter(({ id }) => !entries.value.some((entry) => entry.id === id));
  entries.value = [...entries.value, ...fresh];
}

const ENDED: ReadonlySet<string> = new Set(["workerEnded", "workerFailed", "noModel"]); // the worker is gone, and its model with it

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
    writeSetting("offer", offer);
    writeSetting(`model.${entry.domain}`, id);
    model.value = loaded;
    // Once the page shows it: until then this would take the processor from it.
    requestAnimationFrame(() => setTimeout(() => void engine.call("warmUp", null).catch(() => undefined)));
  } catch (error) {
    const plain = plainError(error);
    if (ENDED.has(plain.key)) loaded = null;
    if (turn !== latest) return;
    if (loaded !== null) tellError(error, modelName(entry));
    model.value = loaded ?? { kind: "failed", entry, error: plain };
  }
}

/** Whether an error says that the worker has lost its model; the page then offers to load it again. */
export function modelGone(error: unknown): boolean {
  const plain = plainError(error);
  if (!ENDED.has(plain.key)) return false;
  if (model.value.kind === "ready") {
    loaded = null;
    model.value = { kind: "failed", entry: model.value.entry, error: plain };
  }
  return true;
}

/** Start over with a fresh worker: a runtime that failed to start cannot be started again in the same one. */
export async function retryModel(): Promise<void> {
  engine.stop();
  loaded = null;
  await startModels();
}

/**
 * Keep a bundle on this device and use it.
 *
 * @throws AppError: no space to keep it
 */
export async function addModel(bundle: StoredBundle): Promise<ModelEntry> {
  const entry = await storeBundle(bundle);
  entries.value = [...entries.value.filter((other) => other.id !== entry.id), entry];
  await useModel(entry.id);
  return entry;
}

/** Remove a bundle that was loaded from a file. */
export async function removeModel(entry: ModelEntry): Promise<void> {
  try {
    await deleteBundle(entry.name);
  } catch (error) {
    tellError(error);
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

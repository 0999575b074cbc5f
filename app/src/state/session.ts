/** The check under way: photographs of one lesion, and the answer about all of them together. */

import { computed, signal } from "@preact/signals";
import { AppError } from "../core/errors";
import { type Edit, NO_EDIT } from "../core/geometry";
import { agrees, type Field, heldOf, heldProbability, type Known, logRatios, partOf, reweigh } from "../core/metadata";
import { malignantProbability, meanOf, predictionSet } from "../core/probabilities";
import type { Spec } from "../core/spec";
import type { Reason } from "../core/abstention";
import { type Capture, type Concern, CONCERNS, decide, looksDifferent, takenAs, type Verdict } from "../core/verdict";
import type { Site } from "../notebook/types";
import type { Analysis } from "../worker/protocol";
import { engine } from "./engine";
import { capture, captureUnknown, model, modelGone } from "./models";
import { dismiss, tellDone, tellError } from "./notices";
import { operatingPoint } from "./operating";

const MAX_PHOTOS = 12;

export interface Photo {
  id: number;
  name: string;
  blob: Blob;
  edit: Edit;
  analysis: Analysis | null;
  /** What `analysis` is of: the digest of the model, and the edit of the photograph. */
  model?: string;
  analysed?: Edit;
}

/** What the model in use says of a photograph; another's answer is none. */
function analysisBy(digest: string, { analysis, model: by }: Photo, classes: number): Analysis | null {
  return analysis !== null && by === digest && analysis.probabilities.length === classes ? analysis : null;
}

export const photos = signal<Photo[]>([]);
export const selectedId = signal<number | null>(null);

/** The case that these photographs follow up; null for another lesion. */
export const followUp = signal<string | null>(null);

/** What the person answered about the lesion. */
export const concerns = signal<Concern[]>([]);

export function toggleConcern(concern: Concern): void {
  const chosen = new Set(concerns.value);
  if (!chosen.delete(concern)) chosen.add(concern);
  concerns.value = CONCERNS.filter((known) => chosen.has(known));
}

/** What the person said of age, sex and site. */
export const known = signal<Known>({});

/** What is written in the dialog that keeps the check in the notebook. */
export interface Words {
  /** The case it is another date of; empty for a new lesion. */
  target: string;
  title: string;
  site: Site | null;
  note: string;
  date: string;
}

/** Kept with the photographs until these are saved or put away; null before the dialog is first opened. */
export const words = signal<Words | null>(null);

export const selected = computed(() => photos.value.find((photo) => photo.id === selectedId.value) ?? null);

/** Say what is known; a place marked for the notebook that is another one is taken back. */
export function tell(field: Field, value: string): void {
  known.value = { ...known.value, [field]: value };
  const marked = words.value?.site;
  if (field === "site" && value !== "" && marked && !agrees(marked.region, value))
    words.value = { ...words.value!, site: null };
}

/** Mark the place: models that ask for it are told, but for what they know more exactly. */
export function tellPlace(site: Site | null): void {
  const { site: told, ...rest } = known.value;
  if (site === null) known.value = rest;
  else if (!agrees(site.region, told)) known.value = { ...rest, site: partOf(site.region) };
}

/** The answer about the lesion. */
export interface Answer {
  verdict: Verdict;
  /** After age, sex and site, where these are known. */
  probabilities: number[];
  /** The malignant probability that is held against the line. */
  malignant: number | null;
  /** What age, sex and site did: log ratios, (K,), and malignant probability before and after; null where nothing. */
  beside: { ratios: number[]; alone: number | null; both: number | null } | null;
  /** Positions of the classes in the conformal prediction set; null where the model has none. */
  set: number[] | null;
  abstained: boolean;
  reasons: Reason[];
  /** How many photographs the mean is over, and how many were left out since the model can't tell. */
  counted: number;
  leftOut: number;
  /** The photographs look like different lesions. */
  differ: boolean;
}

/** What is said about photographs of one lesion together: the mean over those on which the model does not abstain. */
function answerOf(done: readonly Analysis[], spec: Spec, answered: readonly Concern[], told: Known): Answer {
  const answering = done.filter((analysis) => analysis.reasons.length === 0);
  const abstained = answering.length === 0;
  const counted = abstained ? done : answering;
  const alone = meanOf(counted.map((analysis) => analysis.probabilities));
  const ratios = logRatios(spec.metadata, told);
  const probabilities = meanOf(counted.map((analysis) => reweigh(analysis.probabilities, ratios)));
  const [before, after] = [
    malignantProbability(alone, spec.classes),
    malignantProbability(probabilities, spec.classes),
  ];
  const malignant = heldProbability(before, after);
  const reasons = abstained ? done[0].reasons : [];
  const differ = looksDifferent(
    answering.map((one) => ({ probabilities: one.probabilities, set: predictionSet(one.probabilities, spec) })),
  );
  const verdict = decide({
    malignant,
    differ,
    each: answering.map((analysis) => heldOf(analysis.probabilities, ratios, spec.classes)),
    threshold: operatingPoint(spec)?.threshold ?? null,
    abstained,
    reasons,
    concerns: answered,
    madeFor: spec.domain,
    taken: capture.value,
  });
  return {
    verdict,
    probabilities,
    malignant,
    beside: ratios && { ratios, alone: before, both: after },
    set: predictionSet(alone, spec), // its coverage was measured on images alone
    abstained,
    reasons,
    counted: counted.length,
    leftOut: done.length - counted.length,
    differ,
  };
}

/** The answer about all photographs; where the model abstains on all of them, so does the answer. */
export const answer = computed<Answer | null>(() => {
  if (model.value.kind !== "ready") return null;
  const { spec, entry } = model.value;
  const done = photos.value.flatMap((photo) => analysisBy(entry.digest, photo, spec.classes.length) ?? []);
  return done.length === 0 ? null : answerOf(done, spec, concerns.value, known.value);
});

/** The answer about one photograph alone. */
export function smallAnswer(photo: Photo, spec: Spec): Answer | null {
  if (model.value.kind !== "ready") return null;
  const analysis = analysisBy(model.value.entry.digest, photo, spec.classes.length);
  return analysis && answerOf([analysis], spec, [], known.value);
}

/** Whether a photograph has no answer yet, or only that of before it was turned or cropped. */
export const busy = computed(() =>
  photos.value.some(({ analysis, analysed, edit }) => analysis === null || analysed !== edit),
);

function update(id: number, change: Partial<Photo>): void {
  photos.value = photos.value.map((photo) => (photo.id === id ? { ...photo, ...change } : photo));
}

let next = 0;

type NewPhoto = Pick<Photo, "blob" | "name"> & Partial<Pick<Photo, "id" | "edit">>;

/** Add photographs of the same lesion and classify them; what is no image is told and left out. */
export async function addPhotos(files: readonly NewPhoto[]): Promise<void> {
  const room = MAX_PHOTOS - photos.value.length;
  if (files.length > room) tellError(new AppError("tooManyPhotos", { most: MAX_PHOTOS }));
  const added = files.slice(0, room).map(({ blob, name, edit, id = next }): Photo => {
    next = Math.max(next, id) + 1;
    return { id, name, blob, edit: edit ?? NO_EDIT, analysis: null };
  });
  if (added.length === 0) return;
  photos.value = [...photos.value, ...added];
  selectedId.value = added[0].id;
  await Promise.all(added.map((photo) => classify(photo.id)));
}

/** Classify what has no answer yet, for instance since its model has only just been loaded. */
export async function classifyWaiting(): Promise<void> {
  await Promise.all(photos.value.filter(({ analysis }) => analysis === null).map((photo) => classify(photo.id)));
}

async function classify(id: number): Promise<void> {
  const photo = photos.value.find((candidate) => candidate.id === id);
  // Classified as soon as a model is ready, and the person has said how the photographs are taken.
  if (photo === undefined || model.value.kind !== "ready" || captureUnknown.value) return;
  const entry = model.value.entry;
  try {
    const analysis = await engine.call("classify", { blob: photo.blob, edit: photo.edit });
    const now = photos.value.find((candidate) => candidate.id === id);
    const outdated =
      now?.blob !== photo.blob ||
      now.edit !== photo.edit ||
      model.value.kind !== "ready" ||
      model.value.entry !== entry;
    if (outdated) {
      analysis.picture.close();
      return;
    }
    now.analysis?.picture.close();
    update(id, { analysis, model: entry.digest, analysed: photo.edit });
  } catch (error) {
    const now = photos.value.find((candidate) => candidate.id === id);
    if (now?.edit !== photo.edit) return; // removed or edited meanwhile
    if (modelGone(error)) return; // the photograph waits until it is back
    tellError(error, photo.name);
    if (now.analysis === null) dropPhoto(id);
    else update(id, { edit: now.analysed ?? NO_EDIT }); // as it was when it could be classified
  }
}

/** How the selected photograph seems to be taken, by the model's graph; undefined where it does not tell. */
export async function seemsTakenSelected(): Promise<Capture | undefined> {
  const photo = selected.value;
  if (photo === null) return undefined;
  return takenAs(await engine.call("kind", { blob: photo.blob, edit: photo.edit }));
}

/** Turn or crop a photograph and classify it again. */
export async function editPhoto(id: number, edit: Edit): Promise<void> {
  update(id, { edit });
  await classify(id);
}

function dropPhoto(id: number): void {
  photos.value.find((photo) => photo.id === id)?.analysis?.picture.close();
  photos.value = photos.value.filter((photo) => photo.id !== id);
  if (selectedId.value === id) selectedId.value = photos.value[0]?.id ?? null;
}

/** Messages whose undo brings back a photograph of the lesion under way: never into the check of another one. */
let undoable: number[] = [];

/** Remove a photograph; it can be brought back. */
export function removePhoto(id: number): void {
  const place = photos.value.findIndex((photo) => photo.id === id);
  if (place < 0) return;
  const removed: Photo = { ...photos.value[place], analysis: null };
  dropPhoto(id);
  const told = tellDone("photoRemoved", {}, () => {
    photos.value = [...photos.value.slice(0, place), removed, ...photos.value.slice(place)];
    selectedId.value = id;
    void classifyWaiting();
  });
  undoable.push(told);
}

/** Let go of everything, for the next lesion. */
export function clearSession(): void {
  undoable.forEach(dismiss);
  undoable = [];
  for (const photo of photos.value) photo.analysis?.picture.close();
  photos.value = [];
  concerns.value = [];
  known.value = {};
  followUp.value = null;
  words.value = null;
  selectedId.value = null;
}

/** Start over with the next lesion; what was there can be brought back. */
export function startOver(): void {
  const before = photos.value.map((photo): Photo => ({ ...photo, analysis: null }));
  const [answered, told, followed, written] = [concerns.value, known.value, followUp.value, words.value];
  clearSession();
  tellDone("startedOver", {}, () => {
    if (photos.value.length > 0)
      startOver(); // so can what came in meanwhile
    else clearSession();
    followUp.value = followed;
    concerns.value = answered;
    known.value = told;
    words.value = written;
    void addPhotos(before);
  });
}

/** Drop answers that another model gave. */
export function forgetAnswers(): void {
  photos.value = photos.value.map((photo) => {
    photo.analysis?.picture.close();
    return { ...photo, analysis: null };
  });
}

/** The check under way: photographs of one lesion, and the answer about all of them together. */

import { computed, signal } from "@preact/signals";
import { AppError, type PlainError, plainError } from "../core/errors";
import { type Edit, NO_EDIT } from "../core/geometry";
import { malignantShare, meanOf, predictionSet } from "../core/probabilities";
import type { Reason } from "../core/trust";
import type { Analysis } from "../worker/protocol";
import { engine } from "./engine";
import { model } from "./models";
import { tellError } from "./notices";

const MAX_PHOTOS = 12;

export interface Photo {
  id: number;
  name: string;
  blob: Blob;
  edit: Edit;
  analysis: Analysis | null;
  error: PlainError | null;
}

export const photos = signal<Photo[]>([]);
export const selectedId = signal<number | null>(null);

export const selected = computed(() => photos.value.find((photo) => photo.id === selectedId.value) ?? null);

/** The answer about the lesion. */
export interface Answer {
  probabilities: number[];
  malignant: number | null;
  /** Positions of the classes in the conformal prediction set; null where the model has none. */
  set: number[] | null;
  abstained: boolean;
  reasons: Reason[];
  /** How many photographs the mean is over, and how many were left out since the model can't tell. */
  counted: number;
  leftOut: number;
}

/** Mean over the photographs on which the model does not abstain; it abstains where it does so on all of them. */
export const answer = computed<Answer | null>(() => {
  if (model.value.kind !== "ready") return null;
  const { spec } = model.value;
  const done = photos.value.flatMap((photo) => (photo.analysis === null ? [] : [photo.analysis]));
  if (done.length === 0 || done.some((analysis) => analysis.probabilities.length !== spec.classes.length)) return null;
  const trusted = done.filter((analysis) => analysis.reasons.length === 0);
  const abstained = trusted.length === 0;
  const counted = abstained ? done : trusted;
  const probabilities = meanOf(counted.map((analysis) => analysis.probabilities));
  return {
    probabilities,
    malignant: malignantShare(probabilities, spec.classes),
    set: predictionSet(probabilities, spec),
    abstained,
    reasons: abstained ? done[0].reasons : [],
    counted: counted.length,
    leftOut: done.length - counted.length,
  };
});

export const busy = computed(() => photos.value.some((photo) => photo.analysis === null && photo.error === null));

function update(id: number, change: Partial<Photo>): void {
  photos.value = photos.value.map((photo) => (photo.id === id ? { ...photo, ...change } : photo));
}

let next = 0;

/** Add photographs of the same lesion and classify them; what is no image is told and left out. */
export async function addPhotos(files: readonly { blob: Blob; name: string; edit?: Edit }[]): Promise<void> {
  const room = MAX_PHOTOS - photos.value.length;
  if (files.length > room) tellError(new AppError("tooManyPhotos", { most: MAX_PHOTOS }));
  const added = files.slice(0, room).map(({ blob, name, edit }): Photo => ({
    id: next++,
    name,
    blob,
    edit: edit ?? NO_EDIT,
    analysis: null,
    error: null,
  }));
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
  if (photo === undefined || model.value.kind !== "ready") return; // classified as soon as a model is ready
  const entry = model.value.entry;
  try {
    const analysis = await engine.call("classify", { blob: photo.blob, edit: photo.edit });
    const now = photos.value.find((candidate) => candidate.id === id);
    const outdated =
      now === undefined || now.edit !== photo.edit || model.value.kind !== "ready" || model.value.entry !== entry;
    if (outdated) {
      analysis.picture.close();
      return;
    }
    now.analysis?.picture.close();
    update(id, { analysis, error: null });
  } catch (error) {
    if (!photos.value.some((candidate) => candidate.id === id)) return;
    tellError(error, photo.name);
    const plain = plainError(error);
    if (photo.analysis === null) removePhoto(id);
    else update(id, { error: plain });
  }
}

/** Turn or crop a photograph and classify it again. */
export async function editPhoto(id: number, edit: Edit): Promise<void> {
  update(id, { edit });
  await classify(id);
}

export function removePhoto(id: number): void {
  photos.value.find((photo) => photo.id === id)?.analysis?.picture.close();
  photos.value = photos.value.filter((photo) => photo.id !== id);
  if (selectedId.value === id) selectedId.value = photos.value[0]?.id ?? null;
}

/** Let go of everything, for the next lesion. */
export function startOver(): void {
  for (const photo of photos.value) photo.analysis?.picture.close();
  photos.value = [];
  selectedId.value = null;
}

/** Drop answers that another model gave. */
export function forgetAnswers(): void {
  photos.value = photos.value.map((photo) => {
    photo.analysis?.picture.close();
    return { ...photo, analysis: null, error: null };
  });
}

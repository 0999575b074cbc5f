/** From a check to what the notebook keeps of it. */

import { type Known, usedBy } from "../core/metadata";
import type { OperatingPoint, Spec } from "../core/spec";
import type { Capture, Concern, PredictiveValues } from "../core/verdict";
import type { ModelEntry } from "../state/catalogue";
import type { Answer, Photo } from "../state/session";
import type { Case, Site, Visit, VisitPhoto } from "./types";

const JPEG_QUALITY = 0.9;

/** A new identity. (`crypto.randomUUID` is missing on pages served over plain HTTP.) */
export function identity(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function newCase(title: string, site: Site | null): Case {
  const now = new Date().toISOString();
  return { id: identity(), title, site, note: "", created: now, updated: now };
}

/** A date of photographs, sizes and notes alone: no model is asked. */
export function plainVisit(caseId: string, date: string): Visit {
  return {
    id: identity(),
    caseId,
    date,
    note: "",
    photos: [],
    classes: [],
    probabilities: [],
    malignant: null,
    operatingPoint: null,
    abstained: false,
    model: null,
    created: new Date().toISOString(),
  };
}

interface Visited {
  caseId: string;
  date: string;
  note: string;
  photos: readonly Photo[];
  answer: Answer;
  spec: Spec;
  entry: ModelEntry;
  operatingPoint: OperatingPoint | null;
  values: PredictiveValues | null;
  concerns: readonly Concern[];
  known: Known;
  taken: Capture | null;
}

export async function newVisit(from: Visited): Promise<Visit> {
  const { spec, answer } = from;
  return {
    id: identity(),
    caseId: from.caseId,
    date: from.date,
    note: from.note,
    photos: await Promise.all(
      from.photos.flatMap((photo) => (photo.analysis === null ? [] : [keepPhoto(photo.analysis)])),
    ),
    classes: spec.classes.map((label) => ({ ...label })),
    probabilities: answer.probabilities,
    malignant: answer.malignant,
    operatingPoint: from.operatingPoint === null ? null : { ...from.operatingPoint },
    ...(from.values !== null && { values: from.values }),
    concerns: [...from.concerns],
    ...(answer.beside !== null && { beside: { known: usedBy(spec, from.known), ratios: answer.beside.ratios } }),
    ...(from.taken !== null && { taken: from.taken }),
    domain: spec.domain,
    ...(answer.differ && { differ: true }),
    ...(spec.conformal !== null &&
      answer.set !== null && {
        set: { coverage: spec.conformal.coverage, codes: answer.set.map((i) => spec.classes[i].code) },
      }),
    abstained: answer.abstained,
    model: { name: spec.name, version: spec.version, title: spec.title, digest: from.entry.digest },
    created: new Date().toISOString(),
  };
}

/** A picture as it is kept: without the original's metadata. */
export async function jpegOf(picture: ImageBitmap): Promise<Pick<VisitPhoto, "image" | "width" | "height">> {
  const { width, height } = picture;
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d")!.drawImage(picture, 0, 0);
  return { image: await canvas.convertToBlob({ type: "image/jpeg", quality: JPEG_QUALITY }), width, height };
}

async function keepPhoto(analysis: NonNullable<Photo["analysis"]>): Promise<VisitPhoto> {
  const { picture, probabilities, reasons, cam } = analysis;
  return {
    ...(await jpegOf(picture)),
    probabilities,
    reasons,
    cam:
      cam === null
        ? null
        : { shape: cam.shape, values: Array.from(cam.values, (value) => Number(value.toPrecision(5))) },
  };
}

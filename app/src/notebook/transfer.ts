/** The notebook as one JSON file, images included: written, and read back with every field checked. */

import * as v from "valibot";
import { base64, fromBase64, toBase64 } from "../core/base64";
import { AppError } from "../core/errors";
import { RESEARCH } from "../core/research";
import { DOMAINS } from "../core/spec";
import { MODALITIES } from "../core/abstention";
import { CAPTURES, CONCERNS } from "../core/verdict";
import { DEPIGMENTATION, isScored, SCORED_REGIONS } from "../hypo/vasi";
import type { Patient, Sheet, SheetPhoto } from "../patients/types";
import type { CaseWithVisits } from "./cases";
import type { Visit } from "./types";
import { isConsistent } from "./whole";

const KIND = "lentigo-notebook";
const VERSION = 1;

const number = v.pipe(v.number(), v.finite());
const fraction = v.pipe(number, v.minValue(0), v.maxValue(1));
const identity = v.pipe(v.string(), v.minLength(1), v.maxLength(100));
const text = v.pipe(v.string(), v.maxLength(100_000));
/** Written anew in UTC: versions are told apart by comparing these as text. */
const instant = v.pipe(
  v.string(),
  v.isoTimestamp(),
  v.check((text) => !Number.isNaN(Date.parse(text))),
  v.transform((text) => new Date(text).toISOString()),
);
const image = v.pipe(
  v.string(),
  v.regex(/^data:image\/(jpeg|png|webp);base64,./),
  v.check((url) => v.is(base64, url.slice(url.indexOf(",") + 1))),
);
const side = v.pipe(number, v.integer(), v.minValue(1), v.maxValue(10_000));

const site = v.object({ region: text, view: v.picklist(["front", "back"]), x: fraction, y: fraction });

const reason = v.object({
  key: v.picklist(["unlike", "dark", "bright", "flat", "blurred"]),
  score: v.exactOptional(number),
  threshold: v.exactOptional(number),
  kind: v.exactOptional(v.picklist(MODALITIES)),
});

/** Whether the calendar has the day, unlike 31 February. */
function isDay(text: string): boolean {
  const instant = Date.parse(`${text}T00:00:00Z`);
  return !Number.isNaN(instant) && new Date(instant).toISOString().startsWith(text);
}

/** Forms take no day before 1900. */
const day = v.pipe(
  v.string(),
  v.isoDate(),
  v.check((text) => text >= "1900" && isDay(text)),
);
const pixels = v.pipe(number, v.minValue(1), v.maxValue(100_000));
const coordinate = v.pipe(number, v.minValue(-100_000), v.maxValue(100_000));
const point = v.object({ x: coordinate, y: coordinate });
const shape = v.pipe(v.array(point), v.minLength(3), v.maxLength(20_000));

const measure = v.object({
  target: v.picklist(["dark", "pale", "wood"]),
  shapes: v.array(shape),
  proposed: v.boolean(),
  scale: v.nullable(
    v.object({
      source: v.picklist(["ruler", "coin", "field"]),
      mmPerPixel: v.pipe(number, v.minValue(1e-6), v.maxValue(1000)),
      relativeError: v.pipe(number, v.minValue(0), v.maxValue(10)),
    }),
  ),
});

const clinical = v.object({
  patientId: v.nullable(identity),
  diagnosis: text,
  histology: text,
  reminder: v.nullable(day),
});

const conflict = v.object({
  updated: instant,
  visitId: v.exactOptional(identity),
  date: v.exactOptional(day),
  measures: v.exactOptional(v.array(v.object({ photo: v.union([identity, v.pipe(number, v.integer())]), measure }))),
  title: v.exactOptional(text),
  site: v.exactOptional(v.nullable(site)),
  note: v.exactOptional(text),
  clinical: v.exactOptional(clinical),
});

const photo = v.object({
  id: v.exactOptional(identity),
  image,
  width: pixels,
  height: pixels,
  probabilities: v.array(fraction),
  reasons: v.array(reason),
  cam: v.nullable(
    v.pipe(
      v.object({ shape: v.tuple([side, side, side]), values: v.array(number) }),
      v.check(({ shape: [classes, height, width], values }) => classes * height * width === values.length),
    ),
  ),
  measure: v.exactOptional(measure),
});

const estimate = v.object({ value: fraction, low: v.nullable(fraction), high: v.nullable(fraction) });

const visit = v.pipe(
  v.object({
    id: identity,
    date: day,
    note: text,
    photos: v.array(photo),
    classes: v.array(
      v.object({
        code: text,
        en: text,
        zh: text,
        malignant: v.nullable(v.boolean()),
        names: v.exactOptional(v.record(text, text)),
      }),
    ),
    probabilities: v.array(fraction),
    malignant: v.nullable(fraction),
    operatingPoint: v.nullable(
      v.object({
        name: text,
        threshold: number,
        sensitivity: v.exactOptional(fraction),
        specificity: v.exactOptional(fraction),
      }),
    ),
    concerns: v.exactOptional(v.array(v.picklist(CONCERNS))),
    beside: v.exactOptional(
      v.object({
        known: v.object({ age: v.exactOptional(text), sex: v.exactOptional(text), site: v.exactOptional(text) }),
        ratios: v.array(number),
      }),
    ),
    taken: v.exactOptional(v.picklist(CAPTURES)),
    domain: v.exactOptional(v.picklist(DOMAINS)),
    differ: v.exactOptional(v.boolean()),
    set: v.exactOptional(v.object({ coverage: fraction, codes: v.array(text) })),
    values: v.exactOptional(v.object({ prevalence: fraction, ppv: estimate, npv: estimate })),
    edited: v.exactOptional(instant),
    abstained: v.boolean(),
    model: v.nullable(v.object({ name: text, version: text, title: text, digest: text })),
    created: instant,
  }),
  v.check((one) => isConsistent(one)),
);

const patient = v.object({
  id: identity,
  code: text,
  birthYear: v.nullable(v.pipe(number, v.integer(), v.minValue(1850), v.maxValue(new Date().getFullYear()))),
  skinType: v.nullable(v.picklist([1, 2, 3, 4, 5, 6])),
  note: text,
  created: instant,
  updated: instant,
});

const sheetPhoto = v.nullable(v.object({ image, width: pixels, height: pixels, measure, region: v.nullable(shape) }));

const sheet = v.object({
  id: identity,
  patientId: identity,
  date: day,
  diagnosis: text,
  treatment: text,
  note: text,
  scores: v.pipe(
    v.array(
      v.object({
        region: v.picklist(SCORED_REGIONS),
        handUnits: v.pipe(number, v.minValue(0), v.maxValue(100)),
        depigmentation: v.picklist(DEPIGMENTATION),
      }),
    ),
    v.check((scores) => isScored(scores)),
  ),
  pairs: v.array(v.object({ id: identity, region: v.picklist(SCORED_REGIONS), visible: sheetPhoto, wood: sheetPhoto })),
  versionOf: v.exactOptional(identity),
  created: instant,
  updated: instant,
});

const schema = v.object({
  kind: v.literal(KIND),
  version: v.literal(VERSION),
  exported: instant,
  cases: v.array(
    v.object({
      id: identity,
      title: text,
      site: v.nullable(site),
      note: text,
      clinical: v.exactOptional(clinical),
      created: instant,
      updated: instant,
      edited: v.exactOptional(instant),
      conflicts: v.exactOptional(v.array(conflict)),
      visits: v.array(visit),
    }),
  ),
  patients: v.exactOptional(v.array(patient)),
  sheets: v.exactOptional(v.array(sheet)),
});

/** Everything in a file, or everything on the device. */
export interface NotebookContent {
  cases: readonly CaseWithVisits[];
  patients?: readonly Patient[];
  sheets?: readonly Sheet[];
}

/** Cases alone as the text of one file. */
export function exportCases(cases: readonly CaseWithVisits[]): Promise<Blob> {
  return exportNotebook({ cases });
}

/** The notebook as the text of one file. Built piece by piece, so that no string holds every image at once. */
export async function exportNotebook({ cases, patients = [], sheets = [] }: NotebookContent): Promise<Blob> {
  const head = { kind: KIND, version: VERSION, notice: RESEARCH, exported: new Date().toISOString() };
  const pieces: BlobPart[] = [JSON.stringify(head).slice(0, -1), ',"cases":['];
  for (const [i, one] of cases.entries()) {
    const visits = await Promise.all(
      one.visits.map(async ({ caseId: _, ...rest }) => ({
        ...rest,
        photos: await Promise.all(rest.photos.map(async (p) => ({ ...p, image: await toDataUrl(p.image) }))),
      })),
    );
    pieces.push(i > 0 ? ",\n" : "\n", new Blob([JSON.stringify({ ...one, visits })]));
  }
  pieces.push("\n]");
  if (patients.length > 0) pieces.push(`,\n"patients":${JSON.stringify(patients)}`);
  for (const [i, one] of sheets.entries()) {
    const pairs = await Promise.all(
      one.pairs.map(async (pair) => ({
        ...pair,
        visible: await withDataUrl(pair.visible),
        wood: await withDataUrl(pair.wood),
      })),
    );
    pieces.push(i > 0 ? ",\n" : ',\n"sheets":[\n', new Blob([JSON.stringify({ ...one, pairs })]));
  }
  pieces.push(sheets.length > 0 ? "\n]}\n" : "}\n");
  return new Blob(pieces, { type: "application/json" });
}

/**
 * Read what `exportNotebook` wrote.
 *
 * @throws AppError: no notebook, a newer version, or a field that is not as it should be
 */
export async function importNotebook(file: Blob): Promise<Required<NotebookContent>> {
  let raw: unknown;
  try {
    raw = JSON.parse(await file.text());
  } catch {
    throw new AppError("importNotJson");
  }
  const result = v.safeParse(schema, raw);
  if (!result.success) {
    const field = v.getDotPath(result.issues[0]) ?? "";
    if (field === "kind" || field === "") throw new AppError("importNotNotebook");
    if (field === "version") throw new AppError("importNewer");
    throw new AppError("importInvalid", { field });
  }
  const { cases, patients = [], sheets = [] } = result.output;
  return {
    cases: cases.map((one) => ({
      ...one,
      visits: one.visits.map((entry): Visit => ({
        ...entry,
        caseId: one.id,
        photos: entry.photos.map((p) => ({ ...p, image: fromDataUrl(p.image) })),
      })),
    })),
    patients,
    sheets: sheets.map((one) => ({
      ...one,
      pairs: one.pairs.map((pair) => ({
        ...pair,
        visible: pair.visible && { ...pair.visible, image: fromDataUrl(pair.visible.image) },
        wood: pair.wood && { ...pair.wood, image: fromDataUrl(pair.wood.image) },
      })),
    })),
  };
}

/** The cases of `importNotebook`. */
export async function importCases(file: Blob): Promise<CaseWithVisits[]> {
  return [...(await importNotebook(file)).cases];
}

async function withDataUrl(photo: SheetPhoto | null): Promise<object | null> {
  return photo && { ...photo, image: await toDataUrl(photo.image) };
}

async function toDataUrl(blob: Blob): Promise<string> {
  return `data:${blob.type};base64,${toBase64(new Uint8Array(await blob.arrayBuffer()))}`;
}

function fromDataUrl(url: string): Blob {
  const [head, body] = url.split(",", 2);
  return new Blob([fromBase64(body)], { type: head.slice("data:".length, head.indexOf(";")) });
}

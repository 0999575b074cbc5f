/** Whether what the device's database holds is whole. Only what pages rely on is looked at: a record must not hide for less. */

import * as v from "valibot";
import { AppError } from "../core/errors";
import { isScored } from "../hypo/vasi";

const day = v.pipe(v.string(), v.isoDate());
const record = { id: v.string(), created: v.string(), updated: v.string(), note: v.string() };
const blob = v.custom<Blob>((value) => value instanceof Blob);
const image = { image: blob, width: v.number(), height: v.number() };
const points = v.array(v.looseObject({ x: v.number(), y: v.number() }));
const measure = v.looseObject({ target: v.string(), shapes: v.array(points), scale: v.nullable(v.looseObject({})) });
const classes = v.array(v.looseObject({ code: v.string(), en: v.string(), zh: v.string() }));

interface Answered {
  classes: readonly unknown[];
  probabilities: readonly unknown[];
  photos: readonly { probabilities: readonly unknown[] }[];
  beside?: { ratios: readonly unknown[] } | undefined;
}

/** Whether there is one probability a class, of the visit and of each photograph, and one ratio. */
export function isConsistent({ classes: { length }, probabilities, photos, beside }: Answered): boolean {
  const lists = [probabilities, ...photos.map((photo) => photo.probabilities), ...(beside ? [beside.ratios] : [])];
  return lists.every((list) => list.length === length);
}

const sheetPhoto = v.nullable(v.looseObject({ ...image, measure, region: v.nullable(points) }));

const SHAPES = {
  case: v.looseObject({
    ...record,
    title: v.string(),
    site: v.nullable(v.looseObject({ region: v.string(), view: v.string(), x: v.number(), y: v.number() })),
    clinical: v.optional(v.looseObject({ diagnosis: v.string(), histology: v.string() })),
    conflicts: v.optional(v.array(v.looseObject({ updated: v.string() }))),
  }),
  visit: v.pipe(
    v.looseObject({
      id: v.string(),
      caseId: v.string(),
      created: v.string(),
      date: day,
      note: v.string(),
      photos: v.array(
        v.looseObject({
          ...image,
          probabilities: v.array(v.number()),
          reasons: v.array(v.looseObject({ key: v.string() })),
          measure: v.optional(measure),
        }),
      ),
      classes,
      probabilities: v.array(v.number()),
      beside: v.optional(v.looseObject({ known: v.looseObject({}), ratios: v.array(v.number()) })),
      model: v.nullable(v.looseObject({ title: v.string(), version: v.string(), digest: v.string() })),
    }),
    v.check((one) => isConsistent(one)),
  ),
  patient: v.looseObject({ ...record, code: v.string() }),
  sheet: v.looseObject({
    ...record,
    patientId: v.string(),
    date: day,
    scores: v.pipe(
      v.array(v.looseObject({ region: v.string(), handUnits: v.number(), depigmentation: v.number() })),
      v.check((scores) => isScored(scores)),
    ),
    pairs: v.array(v.looseObject({ id: v.string(), region: v.string(), visible: sheetPhoto, wood: sheetPhoto })),
  }),
};

export type RecordKind = keyof typeof SHAPES;

export function isWhole(kind: RecordKind, found: unknown): boolean {
  return v.is(SHAPES[kind], found);
}

/**
 * A record as it was read; null where there is none.
 *
 * @throws AppError: it is damaged
 */
export function whole<Kept>(kind: RecordKind, found: Kept | undefined): Kept | null {
  if (found === undefined) return null;
  if (!isWhole(kind, found)) throw new AppError("recordDamaged");
  return found;
}

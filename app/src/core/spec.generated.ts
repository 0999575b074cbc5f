// Written by scripts/app_spec.py from the schema of lentigo.bundle.Spec; do not edit.

import * as v from "valibot";

/** The newest format that is read. */
export const FORMAT = 3;

/** First years of the bands of ages. */
export const AGES = [0, 30, 40, 50, 60, 70, 80];

const separation = v.strictObject({
  images: v.pipe(v.number(), v.safeInteger(), v.minValue(0), v.ltValue(9007199254740992)),
  auroc: v.pipe(v.number(), v.finite(), v.minValue(0), v.maxValue(1)),
  fpr: v.pipe(v.number(), v.finite(), v.minValue(0), v.maxValue(1)),
});

const abstention = v.strictObject({
  score: v.pipe(v.string(), v.maxLength(1000)),
  threshold: v.pipe(v.number(), v.finite()),
  accepted: v.pipe(v.number(), v.finite(), v.minValue(0), v.maxValue(1)),
  images: v.pipe(v.number(), v.safeInteger(), v.minValue(0), v.ltValue(9007199254740992)),
  measured: v.optional(v.record(v.pipe(v.string(), v.maxLength(1000)), separation), {}),
});

const classLabel = v.strictObject({
  code: v.pipe(v.string(), v.minLength(1), v.maxLength(100)),
  en: v.pipe(v.string(), v.maxLength(1000)),
  zh: v.pipe(v.string(), v.maxLength(1000)),
  malignant: v.optional(v.nullable(v.boolean()), null),
  names: v.exactOptional(v.record(v.pipe(v.string(), v.maxLength(20)), v.pipe(v.string(), v.maxLength(1000)))),
});

const conformal = v.strictObject({
  coverage: v.pipe(v.number(), v.finite(), v.gtValue(0), v.ltValue(1)),
  quantiles: v.record(
    v.pipe(v.string(), v.minLength(1), v.maxLength(100)),
    v.pipe(v.number(), v.finite(), v.minValue(0), v.maxValue(1)),
  ),
  pooled: v.optional(v.array(v.pipe(v.string(), v.minLength(1), v.maxLength(100))), []),
});

const estimate = v.strictObject({
  value: v.pipe(v.number(), v.finite()),
  low: v.optional(v.nullable(v.pipe(v.number(), v.finite())), null),
  high: v.optional(v.nullable(v.pipe(v.number(), v.finite())), null),
});

const extraData = v.strictObject({
  data: v.pipe(v.string(), v.maxLength(1000)),
  fingerprint: v.pipe(v.string(), v.maxLength(1000)),
  images: v.pipe(v.number(), v.safeInteger(), v.minValue(0), v.ltValue(9007199254740992)),
});

const grouping = v.strictObject({
  kind: v.pipe(v.string(), v.maxLength(1000)),
  name: v.optional(v.pipe(v.string(), v.maxLength(1000)), ""),
  blank: v.optional(v.pipe(v.number(), v.safeInteger(), v.minValue(0), v.ltValue(9007199254740992)), 0),
});

const inputSpec = v.strictObject({
  size: v.pipe(v.number(), v.safeInteger(), v.minValue(16), v.maxValue(4096)),
  mean: v.strictTuple([
    v.pipe(v.number(), v.finite(), v.minValue(-100), v.maxValue(100)),
    v.pipe(v.number(), v.finite(), v.minValue(-100), v.maxValue(100)),
    v.pipe(v.number(), v.finite(), v.minValue(-100), v.maxValue(100)),
  ]),
  std: v.strictTuple([
    v.pipe(v.number(), v.finite(), v.minValue(0.001), v.maxValue(100)),
    v.pipe(v.number(), v.finite(), v.minValue(0.001), v.maxValue(100)),
    v.pipe(v.number(), v.finite(), v.minValue(0.001), v.maxValue(100)),
  ]),
  resample: v.optional(v.literal("bilinear"), "bilinear"),
});

const metadata = v.strictObject({
  log_ratios: v.record(
    v.string(),
    v.record(
      v.pipe(v.string(), v.maxLength(1000)),
      v.array(v.pipe(v.number(), v.finite(), v.minValue(-10), v.maxValue(10))),
    ),
  ),
  groups: v.record(v.string(), v.pipe(v.number(), v.safeInteger(), v.minValue(0), v.ltValue(9007199254740992))),
});

const networkSpec = v.strictObject({
  name: v.pipe(v.string(), v.maxLength(1000)),
  options: v.optional(v.record(v.string(), v.unknown()), {}),
  parameters: v.pipe(v.number(), v.safeInteger(), v.minValue(0), v.ltValue(9007199254740992)),
  macs: v.optional(v.nullable(v.pipe(v.number(), v.safeInteger(), v.minValue(0), v.ltValue(9007199254740992))), null),
});

const operatingPoint = v.strictObject({
  name: v.pipe(v.string(), v.minLength(1), v.maxLength(100)),
  threshold: v.pipe(v.number(), v.finite(), v.minValue(0), v.maxValue(2)),
  sensitivity: v.pipe(v.number(), v.finite(), v.minValue(0), v.maxValue(1)),
  specificity: v.pipe(v.number(), v.finite(), v.minValue(0), v.maxValue(1)),
});

const outputSpec = v.strictObject({
  embedding: v.pipe(v.number(), v.safeInteger(), v.minValue(1), v.maxValue(1048576)),
  cam: v.optional(
    v.nullable(
      v.strictTuple([
        v.pipe(v.number(), v.safeInteger(), v.minValue(1), v.maxValue(4096)),
        v.pipe(v.number(), v.safeInteger(), v.minValue(1), v.maxValue(4096)),
      ]),
    ),
    null,
  ),
  atypicality: v.optional(v.boolean(), false),
});

const teacherData = v.strictObject({
  data: v.pipe(v.string(), v.maxLength(1000)),
  fingerprint: v.pipe(v.string(), v.maxLength(1000)),
  images: v.pipe(v.number(), v.safeInteger(), v.minValue(0), v.ltValue(9007199254740992)),
  teacher: v.pipe(v.string(), v.maxLength(1000)),
  by: v.optional(v.picklist(["answers", "features"]), "answers"),
});

const provenance = v.strictObject({
  command: v.string(),
  recipe: v.record(v.string(), v.unknown()),
  data: v.pipe(v.string(), v.maxLength(1000)),
  fingerprint: v.pipe(v.string(), v.maxLength(1000)),
  groups: v.optional(v.nullable(grouping), null),
  protocol: v.pipe(v.string(), v.maxLength(1000)),
  split_seed: v.pipe(v.number(), v.safeInteger(), v.gtValue(-9007199254740992), v.ltValue(9007199254740992)),
  seed: v.pipe(v.number(), v.safeInteger(), v.gtValue(-9007199254740992), v.ltValue(9007199254740992)),
  counts: v.optional(
    v.record(
      v.pipe(v.string(), v.maxLength(1000)),
      v.pipe(v.number(), v.safeInteger(), v.minValue(0), v.ltValue(9007199254740992)),
    ),
    {},
  ),
  extra: v.optional(v.array(extraData), []),
  taught: v.optional(v.array(teacherData), []),
  hardware: v.pipe(v.string(), v.maxLength(1000)),
  wall_seconds: v.pipe(v.number(), v.finite()),
  created: v.pipe(v.string(), v.maxLength(1000)),
  lentigo: v.pipe(v.string(), v.maxLength(1000)),
  notes: v.optional(v.string(), ""),
});

export const specSchema = v.strictObject({
  format: v.optional(v.pipe(v.number(), v.safeInteger()), 2),
  name: v.pipe(v.string(), v.regex(/^[a-z0-9][a-z0-9._-]*$/)),
  version: v.optional(v.pipe(v.string(), v.maxLength(1000)), "1"),
  title: v.pipe(v.string(), v.maxLength(1000)),
  domain: v.optional(v.picklist(["dermoscopy", "clinical", "phantom", "other", "not stated"]), "dermoscopy"),
  classes: v.pipe(v.array(classLabel), v.minLength(2)),
  input: inputSpec,
  outputs: outputSpec,
  network: networkSpec,
  weights: v.optional(v.picklist(["fp32", "fp16", "int8"]), "fp32"),
  temperature: v.optional(v.pipe(v.number(), v.finite(), v.minValue(0.001), v.maxValue(1000)), 1.0),
  abstention: v.optional(v.nullable(abstention), null),
  conformal: v.optional(v.nullable(conformal), null),
  operating_points: v.optional(v.array(operatingPoint), []),
  metadata: v.optional(v.nullable(metadata), null),
  metrics: v.optional(
    v.record(v.pipe(v.string(), v.maxLength(1000)), v.record(v.pipe(v.string(), v.maxLength(1000)), estimate)),
    {},
  ),
  provenance: provenance,
  licence: v.pipe(v.string(), v.maxLength(1000)),
  data_licence: v.pipe(v.string(), v.maxLength(1000)),
  files: v.optional(v.record(v.pipe(v.string(), v.maxLength(1000)), v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/))), {}),
});

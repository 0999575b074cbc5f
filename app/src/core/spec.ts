/** `spec.json` of a bundle, checked as strictly as `lentigo.bundle` checks it. */

import * as v from "valibot";
import { AppError } from "./errors";

/** The newest format that is read; 1 had no atypicality, and so no abstention. */
export const FORMAT = 2;
export const MODEL = "model.onnx";
export const CARD = "MODEL_CARD.md";
export const GOLDEN = "golden.json";
export const SPEC = "spec.json";

const number = v.pipe(v.number(), v.finite());
const positive = v.pipe(number, v.gtValue(0));
const triple = v.tuple([number, number, number]);
const plain = v.record(v.string(), v.unknown());

const interval = v.strictObject({
  value: number,
  low: v.nullish(number),
  high: v.nullish(number),
});

const learntToo = { data: v.string(), fingerprint: v.string(), images: number };

const schema = v.strictObject({
  format: v.pipe(number, v.integer(), v.minValue(1), v.maxValue(FORMAT)),
  name: v.pipe(v.string(), v.regex(/^[a-z0-9][a-z0-9._-]*$/)),
  version: v.optional(v.string(), "1"),
  title: v.string(),
  domain: v.optional(v.picklist(["dermoscopy", "clinical", "phantom"]), "dermoscopy"),
  classes: v.pipe(
    v.array(
      v.strictObject({ code: v.string(), en: v.string(), zh: v.string(), malignant: v.nullish(v.boolean(), null) }),
    ),
    v.minLength(2),
  ),
  input: v.strictObject({
    size: v.pipe(number, v.integer(), v.minValue(16), v.maxValue(4096)),
    mean: triple,
    std: triple,
    resample: v.optional(v.literal("bilinear"), "bilinear"),
  }),
  outputs: v.strictObject({
    embedding: v.pipe(number, v.integer()),
    cam: v.nullish(v.tuple([number, number]), null),
    atypicality: v.optional(v.boolean(), false),
  }),
  network: v.strictObject({
    name: v.string(),
    options: v.optional(plain, {}),
    parameters: number,
    macs: v.nullish(number, null),
  }),
  weights: v.optional(v.picklist(["fp32", "fp16", "int8"]), "fp32"),
  temperature: v.optional(positive, 1),
  abstention: v.nullish(
    v.strictObject({
      score: v.string(),
      threshold: number,
      accepted: number,
      images: number,
      measured: v.optional(v.record(v.string(), v.strictObject({ images: number, auroc: number, fpr: number })), {}),
    }),
    null,
  ),
  conformal: v.nullish(
    v.strictObject({
      coverage: v.pipe(number, v.gtValue(0), v.ltValue(1)),
      quantiles: v.record(v.string(), number),
      pooled: v.optional(v.array(v.string()), []),
    }),
    null,
  ),
  operating_points: v.optional(
    v.array(v.strictObject({ name: v.string(), threshold: number, sensitivity: number, specificity: number })),
    [],
  ),
  metrics: v.optional(v.record(v.string(), v.record(v.string(), interval)), {}),
  provenance: v.strictObject({
    command: v.string(),
    recipe: plain,
    data: v.string(),
    fingerprint: v.string(),
    protocol: v.string(),
    split_seed: number,
    seed: number,
    counts: v.optional(v.record(v.string(), number), {}),
    extra: v.optional(v.array(v.strictObject(learntToo)), []),
    taught: v.optional(v.array(v.strictObject({ ...learntToo, teacher: v.string() })), []),
    hardware: v.string(),
    wall_seconds: number,
    created: v.string(),
    lentigo: v.string(),
    notes: v.optional(v.string(), ""),
  }),
  licence: v.string(),
  data_licence: v.string(),
  files: v.record(v.string(), v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/))),
});

export type Spec = v.InferOutput<typeof schema>;
export type ClassSpec = Spec["classes"][number];
export type OperatingPoint = Spec["operating_points"][number];
export type Domain = Spec["domain"];

/**
 * Read a specification from the text of `spec.json`.
 *
 * @throws AppError: not JSON, no lentigo bundle, a newer format, an invalid field, or file names that lead elsewhere
 */
export function parseSpec(text: string): Spec {
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch {
    throw new AppError("bundleNotJson");
  }
  const format = typeof raw === "object" && raw !== null && "format" in raw ? raw.format : undefined;
  if (typeof format !== "number") throw new AppError("bundleNotLentigo");
  if (format > FORMAT) throw new AppError("bundleNewer", { format, known: FORMAT });
  const result = v.safeParse(schema, raw);
  if (!result.success) {
    const issue = result.issues[0];
    throw new AppError("bundleInvalid", { field: v.getDotPath(issue) ?? SPEC, detail: issue.message });
  }
  if (result.output.abstention !== null && !result.output.outputs.atypicality) {
    throw new AppError("bundleInvalid", { field: "abstention", detail: "atypicality" });
  }
  for (const name of [MODEL, CARD, GOLDEN]) {
    if (!(name in result.output.files)) throw new AppError("bundleFileMissing", { file: name });
  }
  for (const name of Object.keys(result.output.files)) {
    if (/[\\/]/.test(name) || name === "." || name === "..") {
      throw new AppError("bundleInvalid", { field: "files", detail: name });
    }
  }
  return result.output;
}

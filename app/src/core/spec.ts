/** `spec.json` of a bundle, checked as strictly as `lentigo.bundle` checks it; the schema is generated from there. */

import * as v from "valibot";
import { AppError } from "./errors";
import { FORMAT, specSchema } from "./spec.generated";

export const MODEL = "model.onnx";
export const CARD = "MODEL_CARD.md";
export const GOLDEN = "golden.json";
export const SPEC = "spec.json";

export type Spec = v.InferOutput<typeof specSchema>;
export type ClassSpec = Spec["classes"][number];
export type OperatingPoint = Spec["operating_points"][number];
export type Domain = Spec["domain"];

/** What kinds of pictures a model can be made for. */
export const DOMAINS = [
  "dermoscopy",
  "clinical",
  "phantom",
  "other",
  "not stated",
] as const satisfies readonly Domain[];

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
  if (format < 1) throw new AppError("bundleInvalid", { field: "format", detail: String(format) });
  if (format > FORMAT) throw new AppError("bundleNewer", { format, known: FORMAT });
  const result = v.safeParse(specSchema, raw);
  if (!result.success) {
    const issue = result.issues[0];
    throw new AppError("bundleInvalid", { field: v.getDotPath(issue) ?? SPEC, detail: issue.message });
  }
  checkConsistent(result.output);
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

/** What holds between fields, as `Spec._consistent` in Python. */
function checkConsistent(spec: Spec): void {
  const refuse = (field: string, detail: string): never => {
    throw new AppError("bundleInvalid", { field, detail });
  };
  if (spec.abstention !== null && !spec.outputs.atypicality) refuse("abstention", "atypicality");
  const codes = new Set<string>();
  for (const { code } of spec.classes) {
    if (codes.has(code)) refuse("classes", code);
    codes.add(code);
  }
  const points = new Set(spec.operating_points.map(({ name }) => name));
  if (points.size < spec.operating_points.length) refuse("operating_points", "name");
  for (const [field, table] of Object.entries(spec.metadata?.log_ratios ?? {})) {
    const short = Object.entries(table).find(([, ratios]) => ratios.length !== spec.classes.length);
    if (short !== undefined) refuse("metadata", `${field} ${short[0]}`);
  }
  const { quantiles = {}, pooled = [] } = spec.conformal ?? {};
  const foreign = [...Object.keys(quantiles), ...pooled].find((code) => !codes.has(code));
  if (foreign !== undefined) refuse("conformal", foreign);
}

/** Golden vectors: inputs and outputs that every runtime must reproduce (`golden.json` of a bundle). */

import * as v from "valibot";
import { base64, fromBase64 } from "./base64";
import { AppError } from "./errors";
import type { Quality } from "./quality";

const numbers = v.array(v.number());

const schema = v.object({
  format: v.literal(1),
  tolerance: v.object({ pixels: v.number(), probabilities: v.number() }),
  cases: v.array(
    v.object({
      name: v.string(),
      png: base64,
      width: v.number(),
      height: v.number(),
      pixels: v.object({ stride: v.number(), values: numbers }),
      logits: numbers,
      probabilities: numbers,
      embedding: numbers,
      cam: v.nullable(v.object({ shape: numbers, values: numbers })),
      modality: v.nullish(numbers, null),
      // Bundles of format 1 have neither of these.
      atypicality: v.nullish(v.number(), null),
      quality: v.nullish(
        v.pipe(
          v.looseObject({}),
          // Bundles of the previous release write `burnt`.
          v.transform(({ burnt, ...rest }) => (burnt === undefined ? rest : { overexposed: burnt, ...rest })),
          v.object({ brightness: v.number(), overexposed: v.number(), structure: v.number(), sharpness: v.number() }),
        ),
        null,
      ),
    }),
  ),
});

export type Golden = v.InferOutput<typeof schema>;
export type GoldenCase = Golden["cases"][number];

/** Largest differences of one case between this runtime and the vectors, each within its tolerance or not. */
export interface GoldenDifference {
  name: string;
  /** levels of 255 */
  pixels: number;
  probabilities: number;
  /** These relative to the largest golden value, as in Python. */
  logits: number;
  embedding: number;
  cam: number;
  atypicality: number;
  modality: number;
  /** relative to the golden value of each measure, where that is above 1 */
  quality: number;
  passed: boolean;
}

/** What this runtime made of a case. */
export interface GoldenAnswer {
  pixels: Uint8Array; // (size, size, 3)
  size: number;
  logits: ArrayLike<number>;
  probabilities: ArrayLike<number>;
  embedding: ArrayLike<number>;
  cam: ArrayLike<number> | null;
  atypicality: number | null;
  modality: ArrayLike<number> | null;
  quality: Quality;
}

// As much as pixels that are one level apart make the measures differ.
const QUALITY_TOLERANCE = 1e-2;

/** @throws AppError: not golden vectors */
export function parseGolden(text: string): Golden {
  try {
    return v.parse(schema, JSON.parse(text));
  } catch {
    throw new AppError("goldenInvalid");
  }
}

/** The bytes of a case's source image. */
export function goldenImage(example: GoldenCase): Uint8Array<ArrayBuffer> {
  return fromBase64(example.png);
}

function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Infinity;
  let largest = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i] - b[i]);
    if (!(difference <= largest)) largest = difference; // NaN counts as a difference
  }
  return largest;
}

/** The pixels at `[::stride, ::stride]` of (size, size, 3). */
function sample(pixels: Uint8Array, size: number, stride: number): number[] {
  const values: number[] = [];
  for (let y = 0; y < size; y += stride) {
    for (let x = 0; x < size; x += stride) {
      const at = (y * size + x) * 3;
      values.push(pixels[at], pixels[at + 1], pixels[at + 2]);
    }
  }
  return values;
}

function relativeDifference(a: ArrayLike<number>, golden: readonly number[]): number {
  const largest = golden.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return largestDifference(a, golden) / (largest || 1);
}

function listed(value: number | null): number[] {
  return value === null ? [] : [value];
}

function qualityDifference(actual: Quality, golden: Quality | null): number {
  if (golden === null) return 0;
  const names = Object.keys(golden) as (keyof Quality)[];
  return Math.max(...names.map((name) => Math.abs(actual[name] - golden[name]) / Math.max(Math.abs(golden[name]), 1)));
}

/** Compare what this runtime made of a case with what the vectors say. */
export function compareGolden(golden: Golden, example: GoldenCase, actual: GoldenAnswer): GoldenDifference {
  const pixels = largestDifference(sample(actual.pixels, actual.size, example.pixels.stride), example.pixels.values);
  const figures = {
    probabilities: largestDifference(actual.probabilities, example.probabilities),
    logits: relativeDifference(actual.logits, example.logits),
    embedding: relativeDifference(actual.embedding, example.embedding),
    cam: relativeDifference(actual.cam ?? [], example.cam?.values ?? []),
    atypicality: relativeDifference(listed(actual.atypicality), listed(example.atypicality)),
    modality: relativeDifference(actual.modality ?? [], example.modality ?? []),
  };
  const quality = qualityDifference(actual.quality, example.quality);
  const { tolerance } = golden;
  const passed =
    pixels <= tolerance.pixels &&
    quality <= QUALITY_TOLERANCE &&
    Object.values(figures).every((figure) => figure <= tolerance.probabilities);
  return { name: example.name, pixels, ...figures, quality, passed };
}

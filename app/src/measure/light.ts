/** Uneven light and dark corners: a smooth surface through the skin, and what deviates from it. */

import { type Mask, newPlane, type Plane, quantile } from "./raster";

const TERMS = 6; // 1, x, y, x², xy, y²
const ROUNDS = 6;
const SAMPLES = 6_000; // pixels that are fitted to
/** Standard deviations that count as skin, on the side of what is sought and on the other. */
const KEEP_TOWARDS = 2;
const KEEP_AWAY = 4;

/** Solve a small symmetric system by Gaussian elimination with pivots. */
export function solve(matrix: number[][], right: number[]): number[] {
  const n = right.length;
  const rows = matrix.map((row, i) => [...row, right[i]]);
  for (let i = 0; i < n; i++) {
    let pivot = i;
    for (let k = i + 1; k < n; k++) if (Math.abs(rows[k][i]) > Math.abs(rows[pivot][i])) pivot = k;
    [rows[i], rows[pivot]] = [rows[pivot], rows[i]];
    const head = rows[i][i] || 1e-12;
    for (let k = i + 1; k < n; k++) {
      const factor = rows[k][i] / head;
      for (let j = i; j <= n; j++) rows[k][j] -= factor * rows[i][j];
    }
  }
  const out = new Array<number>(n).fill(0);
  for (let i = n - 1; i >= 0; i--) {
    let sum = rows[i][n];
    for (let j = i + 1; j < n; j++) sum -= rows[i][j] * out[j];
    out[i] = sum / (rows[i][i] || 1e-12);
  }
  return out;
}

/** Values at some pixels, with the quadratic's terms at each: 1, x, y, x², xy, y². */
interface Sample {
  values: Float32Array;
  terms: Float32Array;
  pixels: Int32Array;
}

function sample(plane: Plane, usable: Mask): Sample {
  const stride = Math.max(1, Math.floor(plane.values.length / SAMPLES));
  const pixels: number[] = [];
  for (let i = 0; i < plane.values.length; i += stride) if (usable.values[i] === 1) pixels.push(i);
  const terms = new Float32Array(pixels.length * TERMS);
  pixels.forEach((i, n) => {
    const [x, y] = place(plane, i);
    terms.set([1, x, y, x * x, x * y, y * y], n * TERMS);
  });
  return { values: Float32Array.from(pixels, (i) => plane.values[i]), terms, pixels: Int32Array.from(pixels) };
}

function fit({ values, terms }: Sample, weights: Uint8Array): number[] {
  const matrix = Array.from({ length: TERMS }, () => new Array<number>(TERMS).fill(0));
  const right = new Array<number>(TERMS).fill(0);
  for (let n = 0; n < values.length; n++) {
    if (weights[n] === 0) continue;
    const at = n * TERMS;
    for (let j = 0; j < TERMS; j++) {
      right[j] += terms[at + j] * values[n];
      for (let k = j; k < TERMS; k++) matrix[j][k] += terms[at + j] * terms[at + k];
    }
  }
  for (let j = 0; j < TERMS; j++) {
    matrix[j][j] += 1e-6;
    for (let k = 0; k < j; k++) matrix[j][k] = matrix[k][j];
  }
  return solve(matrix, right);
}

function place(plane: Plane, i: number): [number, number] {
  const x = i % plane.width;
  const y = (i - x) / plane.width;
  return [(2 * x) / plane.width - 1, (2 * y) / plane.height - 1];
}

export interface Flattened {
  /** The plane minus the skin's surface: 0 on skin. */
  residual: Plane;
  /** Standard deviation of the skin about its surface. */
  noise: number;
}

/**
 * Take out the skin's own smooth light.
 *
 * The surface (a quadratic) starts from the pixels in `start` and is refitted to all that lie near it, so that a lesion
 * does not bend it.
 *
 * @param plane logarithm of a channel
 * @param start where skin is expected
 * @param usable pixels inside the field of view
 * @param side 1: what is sought lies above the surface; -1: below it. That side is cut more strictly.
 */
export function flatten(plane: Plane, start: Mask, usable: Mask, side: 1 | -1): Flattened {
  const taken = sample(plane, usable);
  const weights = Uint8Array.from(taken.pixels, (i) => start.values[i]);
  const count = weights.length;
  const residual = new Float32Array(count);
  let surface: number[] = [];
  let middle = 0;
  let noise = 0;
  for (let round = 0; round < ROUNDS; round++) {
    surface = fit(taken, weights);
    for (let n = 0; n < count; n++) {
      let value = taken.values[n];
      for (let j = 0; j < TERMS; j++) value -= surface[j] * taken.terms[n * TERMS + j];
      residual[n] = value;
    }
    const skin = residual.filter((_, n) => weights[n] === 1);
    middle = quantile(skin, 0.5);
    noise = Math.max(1e-3, 1.4826 * quantile(skin.map((value) => Math.abs(value - middle)), 0.5)); // prettier-ignore
    for (let n = 0; n < count; n++) {
      const towards = side * (residual[n] - middle);
      weights[n] = towards < KEEP_TOWARDS * noise && towards > -KEEP_AWAY * noise ? 1 : 0;
    }
  }
  const out = newPlane(plane.width, plane.height);
  const [a, b, c, d, e, f] = surface;
  for (let row = 0, i = 0; row < plane.height; row++) {
    const y = (2 * row) / plane.height - 1;
    for (let column = 0; column < plane.width; column++, i++) {
      const x = (2 * column) / plane.width - 1;
      out.values[i] = plane.values[i] - middle - (a + b * x + c * y + d * x * x + e * x * y + f * y * y);
    }
  }
  return { residual: out, noise };
}

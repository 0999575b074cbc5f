/**
 * Antialiased bilinear resize, a port of Pillow's resampler (`src/libImaging/Resample.c`).
 *
 * Different resamplers flip top-1 classes, so this one follows the reference to the bit: the triangle filter widened
 * by the scale, 8-bit fixed-point weights, a horizontal pass rounded to 8 bits, then a vertical pass.
 */

const PRECISION_BITS = 32 - 8 - 2;
const HALF = 1 << (PRECISION_BITS - 1);

/** Filter weights from `input` to `output` positions: for output i, `count[i]` weights from input `first[i]` on. */
export interface Weights {
  readonly input: number;
  readonly output: number;
  readonly taps: number;
  readonly first: Int32Array; // (output,)
  readonly count: Int32Array; // (output,)
  readonly fixed: Int32Array; // (output, taps), in units of 2^-22
}

/** Fixed-point weights of the triangle filter (`precompute_coeffs` and `normalize_coeffs_8bpc`). */
export function triangleWeights(input: number, output: number): Weights {
  const scale = input / output;
  const filterScale = Math.max(scale, 1);
  const support = filterScale; // the triangle filter reaches 1 to either side
  const reciprocal = 1 / filterScale; // multiplied by, not divided: rounded as the reference rounds
  const taps = Math.ceil(support) * 2 + 1;
  const first = new Int32Array(output);
  const count = new Int32Array(output);
  const fixed = new Int32Array(output * taps);
  const weights = new Float64Array(taps);
  for (let i = 0; i < output; i++) {
    const center = (i + 0.5) * scale;
    const low = Math.max(Math.trunc(center - support + 0.5), 0);
    const high = Math.min(Math.trunc(center + support + 0.5), input);
    let sum = 0;
    for (let x = low; x < high; x++) {
      const distance = Math.abs((x - center + 0.5) * reciprocal);
      const weight = distance < 1 ? 1 - distance : 0;
      weights[x - low] = weight;
      sum += weight;
    }
    first[i] = low;
    count[i] = high - low;
    for (let k = 0; k < high - low; k++) {
      const weight = sum === 0 ? weights[k] : weights[k] / sum;
      fixed[i * taps + k] = Math.trunc(0.5 + weight * (1 << PRECISION_BITS));
    }
  }
  return { input, output, taps, first, count, fixed };
}

function clip8(value: number): number {
  const shifted = value >> PRECISION_BITS;
  return shifted < 0 ? 0 : shifted > 255 ? 255 : shifted;
}

/**
 * Resize rows of RGBA pixels horizontally and drop the alpha channel.
 *
 * @param rgba   (rows, weights.input, 4)
 * @param target (height, weights.output, 3); rows `row`, `row + 1`, ... are filled
 */
export function resizeRows(
  rgba: Uint8ClampedArray,
  rows: number,
  weights: Weights,
  target: Uint8Array,
  row: number,
): void {
  const { input, output, taps, first, count, fixed } = weights;
  let out = row * output * 3;
  for (let y = 0; y < rows; y++) {
    const line = y * input * 4;
    for (let i = 0; i < output; i++) {
      let r = HALF;
      let g = HALF;
      let b = HALF;
      let p = line + first[i] * 4;
      const end = i * taps + count[i];
      for (let k = i * taps; k < end; k++, p += 4) {
        const weight = fixed[k];
        r += rgba[p] * weight;
        g += rgba[p + 1] * weight;
        b += rgba[p + 2] * weight;
      }
      target[out++] = clip8(r);
      target[out++] = clip8(g);
      target[out++] = clip8(b);
    }
  }
}

/** Resize (weights.input, width, 3) vertically to (weights.output, width, 3). */
export function resizeColumns(rgb: Uint8Array, width: number, weights: Weights): Uint8Array<ArrayBuffer> {
  const { output, taps, first, count, fixed } = weights;
  const line = width * 3;
  const result = new Uint8Array(output * line);
  const sums = new Int32Array(line);
  for (let i = 0; i < output; i++) {
    sums.fill(HALF);
    for (let k = 0; k < count[i]; k++) {
      const weight = fixed[i * taps + k];
      const from = (first[i] + k) * line;
      for (let x = 0; x < line; x++) sums[x] = sums[x] + rgb[from + x] * weight;
    }
    for (let x = 0; x < line; x++) result[i * line + x] = clip8(sums[x]);
  }
  return result;
}

/** Resize a whole RGBA image straight to a square: (height, width, 4) -> (size, size, 3). */
export function resizeToSquare(
  rgba: Uint8ClampedArray,
  width: number,
  height: number,
  size: number,
): Uint8Array<ArrayBuffer> {
  const narrow = new Uint8Array(height * size * 3);
  resizeRows(rgba, height, triangleWeights(width, size), narrow, 0);
  return resizeColumns(narrow, size, triangleWeights(height, size));
}

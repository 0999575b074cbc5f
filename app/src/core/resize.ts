/**
 * Antialiased bilinear resize with the arithmetic of `lentigo/resampler.py`, to the bit.
 *
 * Different resamplers flip top-1 classes, so every runtime does the same: the triangle filter widened by the scale,
 * fixed-point weights of 16 bits, a horizontal pass rounded to 8 bits, then a vertical pass.
 */

/** Filter weights from `input` to `output` positions: for output i, `count[i]` weights from input `first[i]` on. */
export interface Weights {
  readonly input: number;
  readonly output: number;
  readonly taps: number;
  readonly first: Int32Array; // (output,)
  readonly count: Int32Array; // (output,)
  readonly fixed: Int32Array; // (output, taps), in units of 2^-shift
  readonly shift: number; // the largest, up to 22, with which all weights fit 16 bits
}

/** Fixed-point weights of the triangle filter. */
export function triangleWeights(input: number, output: number): Weights {
  const scale = input / output;
  const filterScale = Math.max(scale, 1);
  const support = filterScale; // the triangle filter reaches 1 to either side
  const reciprocal = 1 / filterScale; // multiplied by, not divided: rounded as the reference rounds
  const taps = Math.ceil(support) * 2 + 1;
  const first = new Int32Array(output);
  const count = new Int32Array(output);
  const weights = new Float64Array(output * taps);
  let largest = 0;
  for (let i = 0; i < output; i++) {
    const center = (i + 0.5) * scale;
    const low = Math.max(Math.trunc(center - support + 0.5), 0);
    const high = Math.min(Math.trunc(center + support + 0.5), input);
    let sum = 0;
    for (let x = low; x < high; x++) {
      const distance = Math.abs((x - center + 0.5) * reciprocal);
      const weight = distance < 1 ? 1 - distance : 0;
      weights[i * taps + x - low] = weight;
      sum += weight;
    }
    first[i] = low;
    count[i] = high - low;
    for (let k = i * taps; k < i * taps + high - low; k++) {
      weights[k] /= sum;
      largest = Math.max(largest, weights[k]);
    }
  }
  let shift = 0;
  while (shift < 22 && Math.trunc(0.5 + largest * 2 ** (shift + 1)) < 2 ** 15) shift++;
  const fixed = new Int32Array(weights.length);
  for (let k = 0; k < fixed.length; k++) fixed[k] = Math.trunc(0.5 + weights[k] * 2 ** shift);
  return { input, output, taps, first, count, fixed, shift };
}

function clip8(value: number): number {
  return value < 0 ? 0 : value > 255 ? 255 : value;
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
  const { input, output, taps, first, count, fixed, shift } = weights;
  const half = 1 << (shift - 1);
  const pixels = new Uint32Array(rgba.buffer, rgba.byteOffset, rgba.length >> 2); // little-endian, as all browsers are
  let out = row * output * 3;
  for (let y = 0; y < rows; y++) {
    const line = y * input;
    for (let i = 0; i < output; i++) {
      let r = half;
      let g = half;
      let b = half;
      let p = line + first[i];
      const end = i * taps + count[i];
      for (let k = i * taps; k < end; k++, p++) {
        const weight = fixed[k];
        const pixel = pixels[p];
        r = (r + Math.imul(pixel & 255, weight)) | 0;
        g = (g + Math.imul((pixel >>> 8) & 255, weight)) | 0;
        b = (b + Math.imul((pixel >>> 16) & 255, weight)) | 0;
      }
      target[out++] = clip8(r >> shift);
      target[out++] = clip8(g >> shift);
      target[out++] = clip8(b >> shift);
    }
  }
}

/** Resize (weights.input, width, 3) vertically to (weights.output, width, 3). */
export function resizeColumns(rgb: Uint8Array, width: number, weights: Weights): Uint8Array<ArrayBuffer> {
  const { output, taps, first, count, fixed, shift } = weights;
  const line = width * 3;
  const result = new Uint8Array(output * line);
  const sums = new Int32Array(line);
  for (let i = 0; i < output; i++) {
    sums.fill(1 << (shift - 1));
    let from = first[i] * line;
    let k = i * taps;
    const end = k + count[i];
    for (; k + 1 < end; k += 2, from += 2 * line) {
      const [upper, lower] = [fixed[k], fixed[k + 1]];
      for (let x = 0, p = from, q = from + line; x < line; x++, p++, q++) {
        sums[x] = sums[x] + Math.imul(rgb[p], upper) + Math.imul(rgb[q], lower);
      }
    }
    for (let x = 0; k < end && x < line; x++) sums[x] = sums[x] + Math.imul(rgb[from + x], fixed[k]);
    for (let x = 0; x < line; x++) result[i * line + x] = clip8(sums[x] >> shift);
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

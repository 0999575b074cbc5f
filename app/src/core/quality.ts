/** Quality of a photograph: too dark, too bright, nothing in it, blurred. The same measures and limits as in Python. */

import rules from "../../../lentigo/inference/quality.json";

export type Fault = "dark" | "bright" | "flat" | "blurred";

/** `hint`: the answer stands, the picture could be better; `refuse`: can't tell. */
export type Level = "hint" | "refuse";

/** What could be better about a photograph. */
export interface Hint {
  key: Fault;
}

/** Measures of a square image; see `lentigo.inference.quality`. */
export interface Quality {
  /** Mean luma, 0 to 255. */
  brightness: number;
  /** Fraction of pixels with a luma of 250 or more. */
  overexposed: number;
  /** How much a grid of block means varies in luma and colour: low where nothing stands out. */
  structure: number;
  /** Variance of the luma's Laplacian (Pech-Pacheco et al., ICPR 2000): low where nothing is sharp. */
  sharpness: number;
}

/** Luma (ITU-R BT.601) of RGB (or RGBA) pixels in steps of 1/256, one value a pixel, 0 to 255. */
export function luma(pixels: ArrayLike<number>, channels = 3): Float32Array {
  const grey = new Float32Array(pixels.length / channels);
  for (let i = 0, p = 0; i < grey.length; i++, p += channels) {
    grey[i] = (77 * pixels[p] + 150 * pixels[p + 1] + 29 * pixels[p + 2]) / 256;
  }
  return grey;
}

/** Measure an image of (size, size) RGB (or RGBA) pixels. */
export function measureQuality(pixels: ArrayLike<number>, size: number, channels = 3): Quality {
  const grey = luma(pixels, channels);
  let sum = 0;
  let overexposed = 0;
  for (const value of grey) {
    sum += value;
    if (value >= rules.overexposed_from) overexposed++;
  }
  let laplacianSum = 0;
  let laplacianSquares = 0;
  for (let y = 1; y < size - 1; y++) {
    for (let x = 1; x < size - 1; x++) {
      const i = y * size + x;
      const value = 4 * grey[i] - grey[i - size] - grey[i + size] - grey[i - 1] - grey[i + 1];
      laplacianSum += value;
      laplacianSquares += value * value;
    }
  }
  const inner = (size - 2) ** 2;
  return {
    brightness: sum / grey.length,
    overexposed: overexposed / grey.length,
    structure: structureOf(pixels, size, channels),
    sharpness: laplacianSquares / inner - (laplacianSum / inner) ** 2,
  };
}

function structureOf(pixels: ArrayLike<number>, size: number, channels: number): number {
  const { grid } = rules;
  const block = Math.floor(size / grid); // what is left over at the right and lower edge does not count
  const sums = new Float64Array(grid * grid * 3);
  for (let y = 0; y < grid * block; y++) {
    const row = Math.floor(y / block) * grid;
    for (let x = 0; x < grid * block; x++) {
      const cell = (row + Math.floor(x / block)) * 3;
      const p = (y * size + x) * channels;
      for (let c = 0; c < 3; c++) sums[cell + c] += pixels[p + c];
    }
  }
  const axes: [number[], number[], number[]] = [[], [], []]; // luma and two opponent colours
  for (let cell = 0; cell < sums.length; cell += 3) {
    const [red, green, blue] = [0, 1, 2].map((c) => sums[cell + c] / block ** 2);
    axes[0].push((77 * red + 150 * green + 29 * blue) / 256);
    axes[1].push(red - green);
    axes[2].push((red + green) / 2 - blue);
  }
  return Math.sqrt(axes.reduce((total, axis) => total + variance(axis), 0));
}

function variance(values: readonly number[]): number {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
}

/** Mean absolute difference of two grey images of the same size: large between two frames where something moves. */
export function meanDifference(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += Math.abs(a[i] - b[i]);
  return sum / a.length;
}

/** What is wrong with an image of this size at this level; null where nothing is. */
export function findFault(quality: Quality, size: number, level: Level): Fault | null {
  const limits = rules[level];
  if (quality.brightness < limits.dark) return "dark";
  if (quality.brightness > limits.bright || quality.overexposed > limits.overexposed) return "bright";
  if (quality.structure < limits.structure) return "flat";
  // What was enlarged for a larger input has a smaller Laplacian, by the fourth power of the scale.
  if (quality.sharpness < limits.sharpness * Math.min(1, (rules.sharpness_side / size) ** 4)) return "blurred";
  return null;
}

/** Quality of a photograph, as hints: too dark, too bright, blurred. */

export type HintKey = "dark" | "bright" | "blurred" | "flat";

export interface Hint {
  key: HintKey;
}

/** Brightness, contrast and sharpness of a grey image. */
export interface Quality {
  /** Mean luma, 0 to 255. */
  brightness: number;
  /** Share of pixels that are burnt out (luma 250 and above). */
  burnt: number;
  /** Standard deviation of the luma. */
  contrast: number;
  /** Variance of the Laplacian (Pech-Pacheco et al., ICPR 2000): low where nothing is sharp. */
  sharpness: number;
}

// Set at the edges of what the training images are like at 224 pixels: fewer than 1 in 100 of 250 HAM10000 and 250
// PAD-UFES-20 images get any hint, and 19 of 20 get "blurred" after a Gaussian blur of 2 pixels.
const DARK = 70;
const BRIGHT = 215;
const BURNT_SHARE = 0.3;
const LOW_CONTRAST = 5;
const BLURRED = 1.8;

/** Luma (ITU-R BT.601) of RGB (or RGBA) pixels, one value a pixel, 0 to 255. */
export function luma(pixels: ArrayLike<number>, channels = 3): Float32Array {
  const grey = new Float32Array(pixels.length / channels);
  for (let i = 0, p = 0; i < grey.length; i++, p += channels) {
    grey[i] = 0.299 * pixels[p] + 0.587 * pixels[p + 1] + 0.114 * pixels[p + 2];
  }
  return grey;
}

/** Measure a grey image of (height, width), 0 to 255. */
export function measureQuality(grey: Float32Array, width: number): Quality {
  const height = grey.length / width;
  let sum = 0;
  let squares = 0;
  let burnt = 0;
  for (const value of grey) {
    sum += value;
    squares += value * value;
    if (value >= 250) burnt++;
  }
  const brightness = sum / grey.length;
  let laplacianSum = 0;
  let laplacianSquares = 0;
  for (let y = 1; y < height - 1; y++) {
    for (let x = 1; x < width - 1; x++) {
      const i = y * width + x;
      const value = grey[i - width] + grey[i + width] + grey[i - 1] + grey[i + 1] - 4 * grey[i];
      laplacianSum += value;
      laplacianSquares += value * value;
    }
  }
  const inner = (height - 2) * (width - 2);
  return {
    brightness,
    burnt: burnt / grey.length,
    contrast: Math.sqrt(Math.max(0, squares / grey.length - brightness ** 2)),
    sharpness: laplacianSquares / inner - (laplacianSum / inner) ** 2,
  };
}

/** Mean absolute difference of two grey images of the same size: large between two frames where something moves. */
export function meanDifference(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += Math.abs(a[i] - b[i]);
  return sum / a.length;
}

/** What to tell the person about a photograph; empty where it is fine. */
export function hintsFor(quality: Quality): Hint[] {
  const hints: Hint[] = [];
  if (quality.brightness < DARK) hints.push({ key: "dark" });
  else if (quality.brightness > BRIGHT || quality.burnt > BURNT_SHARE) hints.push({ key: "bright" });
  if (quality.contrast < LOW_CONTRAST) hints.push({ key: "flat" });
  else if (quality.sharpness < BLURRED) hints.push({ key: "blurred" });
  return hints;
}

/** Hints for the pixels that the network saw: (size, size, 3) uint8. */
export function qualityHints(pixels: Uint8Array, size: number): Hint[] {
  return hintsFor(measureQuality(luma(pixels), size));
}

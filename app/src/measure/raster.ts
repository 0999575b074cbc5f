/** Grey planes and masks, and the few operations on them that measuring needs. No browser needed. */

export interface Point {
  x: number;
  y: number;
}

/** RGBA pixels, row by row, as `ImageData` has them. */
export interface Pixels {
  width: number;
  height: number;
  data: Uint8ClampedArray | Uint8Array;
}

/** One number a pixel. */
export interface Plane {
  width: number;
  height: number;
  values: Float32Array;
}

export interface Mask {
  width: number;
  height: number;
  /** 0 or 1. */
  values: Uint8Array;
}

export function newPlane(width: number, height: number, fill = 0): Plane {
  return { width, height, values: new Float32Array(width * height).fill(fill) };
}

export function newMask(width: number, height: number): Mask {
  return { width, height, values: new Uint8Array(width * height) };
}

/** The red, green and blue planes at a size of at most `longest` pixels a side: each pixel is the mean of what it covers. */
export function reducedPlanes(pixels: Pixels, longest: number): { planes: [Plane, Plane, Plane]; factor: number } {
  const factor = Math.max(1, Math.max(pixels.width, pixels.height) / longest);
  const width = Math.max(1, Math.round(pixels.width / factor));
  const height = Math.max(1, Math.round(pixels.height / factor));
  const planes = [0, 1, 2].map((channel) => reducedChannel(pixels, channel, width, height));
  return { planes: planes as [Plane, Plane, Plane], factor };
}

function reducedChannel(pixels: Pixels, channel: number, width: number, height: number): Plane {
  const read = (x: number, y: number): number => pixels.data[(y * pixels.width + x) * 4 + channel];
  const across = newPlane(width, pixels.height);
  resample(pixels.width, width, pixels.height, read, (i, line, value) => (across.values[line * width + i] = value));
  const out = newPlane(width, height);
  resample(
    pixels.height,
    height,
    width,
    (i, line) => across.values[i * width + line],
    (i, line, value) => (out.values[i * width + line] = value),
  );
  return out;
}

/** Area means along one axis; a pixel that is covered in part counts in part. */
function resample(
  from: number,
  to: number,
  lines: number,
  read: (i: number, line: number) => number,
  write: (i: number, line: number, value: number) => void,
): void {
  const step = from / to;
  for (let i = 0; i < to; i++) {
    const start = i * step;
    const end = Math.min(from, start + step);
    const first = Math.floor(start);
    const last = Math.min(from - 1, Math.ceil(end) - 1);
    for (let line = 0; line < lines; line++) {
      let sum = 0;
      for (let k = first; k <= last; k++) sum += read(k, line) * (Math.min(end, k + 1) - Math.max(start, k));
      write(i, line, sum / (end - start));
    }
  }
}

/** Gaussian blur; the border repeats. */
export function blur(plane: Plane, sigma: number): Plane {
  if (sigma <= 0) return { ...plane, values: plane.values.slice() };
  const radius = Math.ceil(3 * sigma);
  const kernel = Float32Array.from({ length: 2 * radius + 1 }, (_, i) =>
    Math.exp(-((i - radius) ** 2) / (2 * sigma ** 2)),
  );
  const total = kernel.reduce((sum, value) => sum + value, 0);
  for (let i = 0; i < kernel.length; i++) kernel[i] /= total;
  const { width, height } = plane;
  const pass = (from: Float32Array, lines: number, length: number, lineStep: number, step: number): Float32Array => {
    const out = new Float32Array(from.length);
    for (let line = 0; line < lines; line++) {
      const base = line * lineStep;
      for (let i = 0; i < length; i++) {
        let sum = 0;
        for (let k = -radius; k <= radius; k++) {
          const at = i + k < 0 ? 0 : i + k >= length ? length - 1 : i + k;
          sum += kernel[k + radius] * from[base + at * step];
        }
        out[base + i * step] = sum;
      }
    }
    return out;
  };
  const across = pass(plane.values, height, width, width, 1);
  return { width, height, values: pass(across, width, height, 1, width) };
}

/** Largest (or smallest) value in a square of side 2 radius + 1. */
function extreme(plane: Plane, radius: number, largest: boolean): Plane {
  const { width, height } = plane;
  const pass = (from: Float32Array, lines: number, length: number, lineStep: number, step: number): Float32Array => {
    const out = new Float32Array(from.length);
    for (let line = 0; line < lines; line++) {
      const base = line * lineStep;
      for (let i = 0; i < length; i++) {
        const end = Math.min(length - 1, i + radius);
        let found = from[base + i * step];
        for (let k = Math.max(0, i - radius); k <= end; k++) {
          const value = from[base + k * step];
          if (largest ? value > found : value < found) found = value;
        }
        out[base + i * step] = found;
      }
    }
    return out;
  };
  const across = pass(plane.values, height, width, width, 1);
  return { width, height, values: pass(across, width, height, 1, width) };
}

/** Grey closing with a square of side 2 radius + 1: dark things narrower than that vanish. */
export function close(plane: Plane, radius: number): Plane {
  return extreme(extreme(plane, radius, true), radius, false);
}

export function dilate(mask: Mask, radius: number): Mask {
  return nearMask(mask, radius, 1);
}

export function erode(mask: Mask, radius: number): Mask {
  return nearMask(mask, radius, 0);
}

/** Grow the pixels that have `value` by a square of side 2 radius + 1: along rows, then along columns, by running counts. */
function nearMask(mask: Mask, radius: number, value: 0 | 1): Mask {
  if (radius <= 0) return { ...mask, values: mask.values.slice() };
  const { width, height } = mask;
  const pass = (from: Uint8Array, lines: number, length: number, lineStep: number, step: number): Uint8Array => {
    const out = new Uint8Array(from.length);
    for (let line = 0; line < lines; line++) {
      const base = line * lineStep;
      let last = Number.NEGATIVE_INFINITY; // where `value` was seen last, looking `radius` ahead
      for (let i = -radius; i < length; i++) {
        const ahead = i + radius;
        if (ahead < length && from[base + ahead * step] === value) last = ahead;
        if (i >= 0) out[base + i * step] = last >= i - radius ? value : 1 - value;
      }
    }
    return out;
  };
  const across = pass(mask.values, height, width, width, 1);
  return { width, height, values: pass(across, width, height, 1, width) };
}

export interface Components {
  /** 0 outside, 1 to count inside. */
  labels: Int32Array;
  count: number;
  /** Pixels of each label; entry 0 is unused. */
  sizes: number[];
}

/** Parts of a mask whose pixels touch at a side or a corner. */
export function components(mask: Mask): Components {
  const { width, height, values } = mask;
  const labels = new Int32Array(values.length);
  const sizes = [0];
  const stack: number[] = [];
  for (let start = 0; start < values.length; start++) {
    if (values[start] === 0 || labels[start] !== 0) continue;
    const label = sizes.length;
    sizes.push(0);
    labels[start] = label;
    stack.push(start);
    while (stack.length > 0) {
      const at = stack.pop()!;
      sizes[label] += 1;
      const x = at % width;
      const y = (at - x) / width;
      for (let ny = Math.max(0, y - 1); ny <= Math.min(height - 1, y + 1); ny++) {
        for (let nx = Math.max(0, x - 1); nx <= Math.min(width - 1, x + 1); nx++) {
          const next = ny * width + nx;
          if (values[next] === 1 && labels[next] === 0) {
            labels[next] = label;
            stack.push(next);
          }
        }
      }
    }
  }
  return { labels, count: sizes.length - 1, sizes };
}

/** Fill what the mask encloses. */
export function fillHoles(mask: Mask): Mask {
  const { width, height } = mask;
  const background = newMask(width, height);
  for (let i = 0; i < mask.values.length; i++) background.values[i] = mask.values[i] === 1 ? 0 : 1;
  const { labels } = components(background);
  const outer = new Set<number>();
  for (let x = 0; x < width; x++) outer.add(labels[x]).add(labels[(height - 1) * width + x]);
  for (let y = 0; y < height; y++) outer.add(labels[y * width]).add(labels[y * width + width - 1]);
  const out = newMask(width, height);
  for (let i = 0; i < labels.length; i++) out.values[i] = labels[i] === 0 || !outer.has(labels[i]) ? 1 : 0;
  return out;
}

const MOST_SORTED = 20_000;

/** A quantile; of very many values, of an even sample of them. */
export function quantile(values: ArrayLike<number>, fraction: number): number {
  const step = Math.max(1, Math.floor(values.length / MOST_SORTED));
  const sorted = new Float32Array(Math.ceil(values.length / step));
  for (let i = 0; i < sorted.length; i++) sorted[i] = values[i * step];
  sorted.sort();
  if (sorted.length === 0) return Number.NaN;
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.round(fraction * (sorted.length - 1))))];
}

const BINS = 256;

/** Otsu's threshold (IEEE Trans. SMC, 1979) of values, over 256 steps. */
export function otsu(values: ArrayLike<number>): number {
  let low = Infinity;
  let high = -Infinity;
  for (let i = 0; i < values.length; i++) {
    low = Math.min(low, values[i]);
    high = Math.max(high, values[i]);
  }
  if (!(high > low)) return low;
  const counts = new Float64Array(BINS);
  const sums = new Float64Array(BINS);
  const step = (high - low) / BINS;
  for (let i = 0; i < values.length; i++) {
    const bin = Math.min(BINS - 1, Math.floor((values[i] - low) / step));
    counts[bin] += 1;
    sums[bin] += values[i];
  }
  const total = sums.reduce((sum, value) => sum + value, 0);
  let best = { threshold: low, between: -1 };
  let count = 0;
  let sum = 0;
  for (let bin = 0; bin + 1 < BINS; bin++) {
    count += counts[bin];
    sum += sums[bin];
    const rest = values.length - count;
    if (count === 0 || rest === 0) continue;
    const between = count * rest * (sum / count - (total - sum) / rest) ** 2;
    if (between > best.between) best = { threshold: low + (bin + 1) * step, between };
  }
  return best.threshold;
}

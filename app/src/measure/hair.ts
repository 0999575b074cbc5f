/**
 * Hairs found and taken out, after the idea of DullRazor (Lee et al., Computers in Biology and Medicine 27, 1997):
 * narrow dark lines stand out from a grey closing; they are filled from what lies around them.
 */

import { close, components, dilate, type Mask, newMask, newPlane, type Plane } from "./raster";

const CLOSING_RADIUS = 3; // pixels at the working size: lines of up to 6 pixels
const DEPTH = 12; // how much darker than its surroundings a hair is, of 255
const SLIMNESS = 8; // least ratio of length to width: dark ridges within a lesion are shorter
const SHORTEST = 0.1; // of the longer side

/** Where hairs lie, in a plane of lightness (0 to 255). */
export function findHairs(lightness: Plane): Mask {
  const { width, height } = lightness;
  const closed = close(lightness, CLOSING_RADIUS);
  const narrow = newMask(width, height);
  for (let i = 0; i < narrow.values.length; i++) {
    narrow.values[i] = closed.values[i] - lightness.values[i] > DEPTH ? 1 : 0;
  }
  const { labels, count, sizes } = components(narrow);
  const boxes = Array.from({ length: count + 1 }, () => ({ left: width, right: 0, top: height, bottom: 0 }));
  for (let i = 0; i < labels.length; i++) {
    const box = boxes[labels[i]];
    const x = i % width;
    const y = (i - x) / width;
    box.left = Math.min(box.left, x);
    box.right = Math.max(box.right, x);
    box.top = Math.min(box.top, y);
    box.bottom = Math.max(box.bottom, y);
  }
  const isHair = boxes.map((box, label) => {
    if (label === 0) return false;
    const length = Math.hypot(box.right - box.left + 1, box.bottom - box.top + 1);
    return length >= SHORTEST * Math.max(width, height) && length * length >= SLIMNESS * sizes[label];
  });
  const hairs = newMask(width, height);
  for (let i = 0; i < labels.length; i++) hairs.values[i] = isHair[labels[i]] ? 1 : 0;
  return dilate(hairs, 1);
}

/** Fill masked pixels from the nearest ones around them, smoothly (push-pull over halved planes). */
export function fillFrom(plane: Plane, missing: Mask): Plane {
  const weights = newPlane(plane.width, plane.height);
  for (let i = 0; i < weights.values.length; i++) weights.values[i] = missing.values[i] === 1 ? 0 : 1;
  return pull(plane, weights);
}

function pull(plane: Plane, weights: Plane): Plane {
  const { width, height } = plane;
  const out: Plane = { width, height, values: plane.values.slice() };
  const whole = weights.values.every((weight) => weight > 0);
  if (whole || (width === 1 && height === 1)) return out;
  const half = newPlane(Math.ceil(width / 2), Math.ceil(height / 2));
  const halfWeights = newPlane(half.width, half.height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const to = (y >> 1) * half.width + (x >> 1);
      const weight = weights.values[y * width + x];
      half.values[to] += weight * plane.values[y * width + x];
      halfWeights.values[to] += weight;
    }
  }
  for (let i = 0; i < half.values.length; i++) {
    if (halfWeights.values[i] > 0) half.values[i] /= halfWeights.values[i];
    halfWeights.values[i] = Math.min(1, halfWeights.values[i]);
  }
  const filled = pull(half, halfWeights);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (weights.values[y * width + x] === 0)
        out.values[y * width + x] = between(filled, (x - 0.5) / 2, (y - 0.5) / 2);
    }
  }
  return out;
}

/** Bilinear value at a place in pixel centres' coordinates; the border repeats. */
export function between(plane: Plane, x: number, y: number): number {
  const { width, height, values } = plane;
  const left = Math.min(width - 1, Math.max(0, Math.floor(x)));
  const top = Math.min(height - 1, Math.max(0, Math.floor(y)));
  const right = Math.min(width - 1, left + 1);
  const bottom = Math.min(height - 1, top + 1);
  const fx = Math.min(1, Math.max(0, x - left));
  const fy = Math.min(1, Math.max(0, y - top));
  const upper = values[top * width + left] * (1 - fx) + values[top * width + right] * fx;
  const lower = values[bottom * width + left] * (1 - fx) + values[bottom * width + right] * fx;
  return upper * (1 - fy) + lower * fy;
}

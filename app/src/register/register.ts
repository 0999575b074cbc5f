/**
 * Two photographs of one place laid over each other: turned, zoomed, moved and a little sheared.
 *
 * Both are reduced and normalised by their own surroundings, so that light does not matter. A search over turns and zooms
 * (correlation at every shift) gives starting places; Gauss and Newton's method with robust weights refines the best of
 * them from coarse to fine, a similarity first, an affine map last.
 */

import type { Affine } from "../core/geometry";
import { rasterise } from "../measure/contour";
import { between, fillFrom } from "../measure/hair";
import { solve } from "../measure/light";
import {
  blur,
  dilate,
  erode,
  type Mask,
  newMask,
  newPlane,
  type Pixels,
  type Plane,
  type Point,
  reducedPlanes,
} from "../measure/raster";
import { bestShift, spectrumOf } from "./fft";

export interface Registration {
  /** From pixels of the moving picture to pixels of the fixed one. */
  transform: Affine;
  /** Correlation of the two after the move, -1 to 1. */
  quality: number;
  /** Clockwise turn in degrees, and zoom, of the moving picture into the fixed one. */
  turn: number;
  zoom: number;
}

const COARSE = 32; // pixels of the longer side in the search over turns
const SEARCH_SIDE = 64; // of the square that is correlated
const LEVELS = [48, 96, 192];
const TURNS = 24;
const ZOOMS = [0.71, 0.84, 1, 1.19, 1.41];
const STARTS = 5;
const ROUNDS_COARSE = 8;
const ROUNDS = 20;
/** A match below this correlation is none. */
const LEAST_QUALITY = 0.35;
/**
 * Nor is one whose fine detail agrees in less than this share of the blocks: a hair or an edge laid over another has a high
 * correlation all the same. Of other lesions up to 45 % of the blocks agreed, of a mirrored one 59 %, of one seen twice 73 %
 * and more.
 */
const LEAST_AGREEMENT = 0.65;
const BLOCK = 24; // pixels of the finest level
const AGREES = 0.4; // correlation within a block
const DETAIL = { fine: 1, around: 6 }; // pixels of the finest level
const LEAST_OVERLAP = 0.2;
const HIDDEN_RIM = 0.02; // of the longer side: an outline is hidden with this much around it
const MARGIN = 1 / 16; // of the longer side: near the border the surroundings are cut off, and features bend

/** x' = p[0] + p[1] x + p[2] y, y' = p[3] + p[4] x + p[5] y: from the fixed to the moving plane, both about their middles and in units of half the longer side. */
type Map6 = number[];

interface Level {
  fixed: Plane;
  moving: Plane;
  /** Where the moving plane has something to say; everywhere unless given. */
  valid?: Mask;
}

/** A picture, and the outlines in it that are not looked at. */
export interface View extends Pixels {
  hidden?: readonly (readonly Point[])[];
}

/**
 * Lay `moving` over `fixed`.
 *
 * A lesion that has grown looks like one seen from nearer. Hide it in both pictures to lay them over each other by the skin
 * around it alone.
 *
 * @returns null where the two do not match well enough to say how
 */
export function register(fixed: View, moving: View): Registration | null {
  const steps = registerInSteps(fixed, moving);
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

/** The same in steps of some hundredths of a second, so that a page can be used meanwhile. */
export function* registerInSteps(fixed: View, moving: View): Generator<void, Registration | null> {
  const levels = LEVELS.map((side): Level => ({ fixed: features(fixed, side), moving: features(moving, side) }));
  yield;
  const starts = yield* search(features(fixed, COARSE), features(moving, COARSE));
  if (fixed.hidden !== undefined || moving.hidden !== undefined) {
    // A lesion tells the turn and the place well, and the zoom badly.
    const seen = [fixed, moving].map(({ width, height, data }) => features({ width, height, data }, COARSE));
    starts.push(...(yield* search(seen[0], seen[1], true)));
  }
  const coarse: { map: Map6; quality: number }[] = [];
  for (const start of starts) {
    const map = refine(levels[0], start, "similarity", ROUNDS_COARSE);
    coarse.push({ map, quality: correlation(levels[0], map) });
    yield;
  }
  let best: { map: Map6; quality: number } | null = null;
  for (const { map: start } of coarse.sort((a, b) => b.quality - a.quality).slice(0, STARTS)) {
    const map = refine(levels[1], start, "similarity");
    const quality = correlation(levels[1], map);
    if (best === null || quality > best.quality) best = { map, quality };
    yield;
  }
  if (best === null) return null;
  let map = best.map;
  for (const level of levels.slice(2)) {
    map = refine(level, map, "similarity");
    yield;
  }
  // "Surroundings" are as wide in both pictures now that the zoom is nearly known: without this it would come out too small.
  for (const kind of ["similarity", "affine"] as const) {
    const level = redrawn(fixed, moving, map);
    map = composed(map, refine(level, IDENTITY, kind));
    yield;
  }
  const laid = redrawn(fixed, moving, map);
  const quality = correlation(laid, IDENTITY);
  if (!(quality >= LEAST_QUALITY && agreement(laid) >= LEAST_AGREEMENT)) return null;
  return { ...describe(map, fixed, moving), quality };
}

const IDENTITY: Map6 = [0, 1, 0, 0, 0, 1];

/** First `inner`, then `outer`. */
function composed(outer: Map6, inner: Map6): Map6 {
  const at = (row: number, x: number, y: number): number => outer[row] + outer[row + 1] * x + outer[row + 2] * y;
  const linear = (row: number, x: number, y: number): number => outer[row + 1] * x + outer[row + 2] * y;
  return [0, 3].flatMap((row) => [
    at(row, inner[0], inner[3]),
    linear(row, inner[1], inner[4]),
    linear(row, inner[2], inner[5]),
  ]);
}

function grey(pixels: View, side: number): Plane {
  const { planes } = reducedPlanes(pixels, side);
  const out = newPlane(planes[0].width, planes[0].height);
  for (let i = 0; i < out.values.length; i++) {
    out.values[i] = Math.log(8 + planes[0].values[i] + 2 * planes[1].values[i] + planes[2].values[i]);
  }
  if (pixels.hidden === undefined || pixels.hidden.length === 0) return out;
  return fillFrom(out, hiddenMask(pixels, out));
}

/** The hidden outlines and a little around them, at a plane's size. */
function hiddenMask({ hidden = [], width, height }: View, plane: Plane): Mask {
  const shapes = hidden.map((shape) =>
    shape.map(({ x, y }) => ({ x: (x * plane.width) / width, y: (y * plane.height) / height })),
  );
  const inside = rasterise(shapes, plane.width, plane.height);
  return dilate(inside, Math.max(1, Math.round(HIDDEN_RIM * Math.max(plane.width, plane.height))));
}

/** The finest level, the moving picture seen through the map. */
function redrawn(fixed: View, moving: View, map: Map6): Required<Level> {
  const side = LEVELS[LEVELS.length - 1];
  const still = grey(fixed, side);
  const source = grey(moving, side);
  const { width, height } = still;
  const seen = newPlane(width, height);
  const valid = newMask(width, height);
  const [unit, own] = [half(still), half(source)];
  for (let i = 0; i < seen.values.length; i++) {
    const x = ((i % width) + 0.5 - width / 2) / unit;
    const y = (Math.floor(i / width) + 0.5 - height / 2) / unit;
    const px = (map[0] + map[1] * x + map[2] * y) * own + source.width / 2 - 0.5;
    const py = (map[3] + map[4] * x + map[5] * y) * own + source.height / 2 - 0.5;
    valid.values[i] = px >= 0 && py >= 0 && px <= source.width - 1 && py <= source.height - 1 ? 1 : 0;
    seen.values[i] = between(source, px, py);
  }
  const inside = erode(valid, Math.round(side * MARGIN));
  const covered = [hiddenMask(fixed, still), hiddenMask(moving, source)];
  for (let i = 0; i < inside.values.length; i++) {
    const x = ((i % width) + 0.5 - width / 2) / unit;
    const y = (Math.floor(i / width) + 0.5 - height / 2) / unit;
    const px = Math.round((map[0] + map[1] * x + map[2] * y) * own + source.width / 2 - 0.5);
    const py = Math.round((map[3] + map[4] * x + map[5] * y) * own + source.height / 2 - 0.5);
    if (covered[0].values[i] === 1 || covered[1].values[py * source.width + px] === 1) inside.values[i] = 0;
  }
  return {
    fixed: normalised(still, side),
    moving: normalised(seen, side),
    valid: inside,
  };
}

function features(pixels: View, side: number): Plane {
  return normalised(grey(pixels, side), side);
}

/** Lightness less its surroundings, over how much those vary. */
function normalised(grey: Plane, side: number): Plane {
  const reach = side / 8;
  const fine = blur(grey, Math.max(0.5, side / 96));
  const around = blur(grey, reach);
  const detail = newPlane(grey.width, grey.height);
  for (let i = 0; i < detail.values.length; i++) detail.values[i] = fine.values[i] - around.values[i];
  const power = blur({ ...detail, values: detail.values.map((value) => value * value) }, reach);
  const floor =
    0.25 * Math.sqrt(detail.values.reduce((sum, value) => sum + value * value, 0) / detail.values.length) + 1e-4;
  for (let i = 0; i < detail.values.length; i++) detail.values[i] /= Math.sqrt(power.values[i]) + floor;
  return detail;
}

const half = ({ width, height }: { width: number; height: number }): number => Math.max(width, height) / 2;

/** The best starts of a search over turns and zooms, or all of them, each at its own best shift. */
function* search(fixed: Plane, moving: Plane, all = false): Generator<void, Map6[]> {
  const still = spectrumOf(onSquare(fixed, [0, 1, 0, 0, 0, 1]), SEARCH_SIDE);
  const found: { map: Map6; peak: number }[] = [];
  for (let turn = 0; turn < TURNS; turn++) {
    for (const zoom of ZOOMS) {
      const angle = (2 * Math.PI * turn) / TURNS;
      const [c, s] = [zoom * Math.cos(angle), zoom * Math.sin(angle)];
      const turned = onSquare(moving, [0, c, -s, 0, s, c]);
      const { dx, dy, peak } = bestShift(still, spectrumOf(turned, SEARCH_SIDE));
      const unit = half(fixed);
      const [x, y] = [dx / unit, dy / unit];
      yield;
      found.push({ map: [c * x - s * y, c, -s, s * x + c * y, s, c], peak });
    }
  }
  found.sort((a, b) => b.peak - a.peak);
  return found.slice(0, all ? found.length : STARTS).map(({ map }) => map);
}

/** A plane seen through a map, in the middle of a square with zeros around it; of unit length, so that zooms compare. */
function onSquare(plane: Plane, map: Map6): Float64Array {
  const out = new Float64Array(SEARCH_SIDE * SEARCH_SIDE);
  const unit = COARSE / 2;
  const own = half(plane);
  let power = 0;
  for (let i = 0; i < out.length; i++) {
    const x = ((i % SEARCH_SIDE) - SEARCH_SIDE / 2) / unit;
    const y = (Math.floor(i / SEARCH_SIDE) - SEARCH_SIDE / 2) / unit;
    const px = (map[0] + map[1] * x + map[2] * y) * own + plane.width / 2 - 0.5;
    const py = (map[3] + map[4] * x + map[5] * y) * own + plane.height / 2 - 0.5;
    if (px < 0 || py < 0 || px > plane.width - 1 || py > plane.height - 1) continue;
    out[i] = between(plane, px, py);
    power += out[i] * out[i];
  }
  const length = Math.sqrt(power) || 1;
  return out.map((value) => value / length);
}

interface Sampled {
  count: number;
  /** Pairs of values where both pictures have one. */
  fixed: Float32Array;
  moving: Float32Array;
  /** Place in the fixed plane's units, and the moving picture's slope there. */
  x: Float32Array;
  y: Float32Array;
  gx: Float32Array;
  gy: Float32Array;
}

function sampled({ fixed, moving, valid }: Level, map: Map6, slopes: boolean): Sampled {
  const room = (): Float32Array => new Float32Array(fixed.values.length);
  const out: Sampled = { count: 0, fixed: room(), moving: room(), x: room(), y: room(), gx: room(), gy: room() };
  const [unit, own] = [half(fixed), half(moving)];
  const margin = Math.max(1, Math.round(2 * unit * MARGIN));
  for (let row = margin; row < fixed.height - margin; row++) {
    const y = (row + 0.5 - fixed.height / 2) / unit;
    for (let column = margin; column < fixed.width - margin; column++) {
      const x = (column + 0.5 - fixed.width / 2) / unit;
      const px = (map[0] + map[1] * x + map[2] * y) * own + moving.width / 2 - 0.5;
      const py = (map[3] + map[4] * x + map[5] * y) * own + moving.height / 2 - 0.5;
      if (px < margin || py < margin || px > moving.width - 1 - margin || py > moving.height - 1 - margin) continue;
      if (valid?.values[Math.round(py) * moving.width + Math.round(px)] === 0) continue;
      const n = out.count++;
      out.fixed[n] = fixed.values[row * fixed.width + column];
      out.moving[n] = between(moving, px, py);
      if (!slopes) continue;
      out.x[n] = x;
      out.y[n] = y;
      out.gx[n] = (between(moving, px + 0.5, py) - between(moving, px - 0.5, py)) * own;
      out.gy[n] = (between(moving, px, py + 0.5) - between(moving, px, py - 0.5)) * own;
    }
  }
  return out;
}

/** Share of the blocks, of those seen by half at least, in which the fine detail of both pictures agrees. */
function agreement({ fixed, moving, valid }: Required<Level>): number {
  const [a, b] = [fixed, moving].map((plane) => {
    const [fine, around] = [blur(plane, DETAIL.fine), blur(plane, DETAIL.around)];
    return fine.values.map((value, i) => value - around.values[i]);
  });
  let [seen, agreeing] = [0, 0];
  for (let top = 0; top + BLOCK <= fixed.height; top += BLOCK) {
    for (let left = 0; left + BLOCK <= fixed.width; left += BLOCK) {
      let [n, sa, sb, ab, aa, bb] = [0, 0, 0, 0, 0, 0];
      for (let k = 0; k < BLOCK * BLOCK; k++) {
        const i = (top + Math.floor(k / BLOCK)) * fixed.width + left + (k % BLOCK);
        if (valid.values[i] === 0) continue;
        n += 1;
        sa += a[i];
        sb += b[i];
        ab += a[i] * b[i];
        aa += a[i] * a[i];
        bb += b[i] * b[i];
      }
      if (n < (BLOCK * BLOCK) / 2) continue;
      seen += 1;
      if (ab - (sa * sb) / n > AGREES * Math.sqrt((aa - (sa * sa) / n) * (bb - (sb * sb) / n))) agreeing += 1;
    }
  }
  return seen === 0 ? 0 : agreeing / seen;
}

/** Correlation where the two overlap; -1 where they hardly do. */
function correlation(level: Level, map: Map6): number {
  const { count: n, fixed, moving } = sampled(level, map, false);
  if (n < LEAST_OVERLAP * level.fixed.values.length) return -1;
  const [mf, mm] = [fixed, moving].map((values) => values.reduce((sum, value) => sum + value, 0) / n); // zeros beyond n
  let [fm, ff, mmSum] = [0, 0, 0];
  for (let i = 0; i < n; i++) {
    const [a, b] = [fixed[i] - mf, moving[i] - mm];
    fm += a * b;
    ff += a * a;
    mmSum += b * b;
  }
  return fm / Math.sqrt(ff * mmSum + 1e-12);
}

function refine(level: Level, start: Map6, kind: "similarity" | "affine", rounds = ROUNDS): Map6 {
  let map = [...start];
  const size = kind === "affine" ? 6 : 4;
  for (let round = 0; round < rounds; round++) {
    const { count, fixed, moving, x, y, gx, gy } = sampled(level, map, true);
    if (count < 60) return start;
    const matrix = Array.from({ length: size }, () => new Array<number>(size).fill(0));
    const right = new Array<number>(size).fill(0);
    const row = new Float64Array(size);
    for (let i = 0; i < count; i++) {
      const residual = fixed[i] - moving[i];
      const weight = 1 / (1 + residual * residual); // Cauchy's: what has changed counts little
      if (kind === "affine") {
        row[0] = gx[i];
        row[1] = gx[i] * x[i];
        row[2] = gx[i] * y[i];
        row[3] = gy[i];
        row[4] = gy[i] * x[i];
        row[5] = gy[i] * y[i];
      } else {
        row[0] = gx[i];
        row[1] = gy[i];
        row[2] = gx[i] * x[i] + gy[i] * y[i];
        row[3] = gy[i] * x[i] - gx[i] * y[i];
      }
      for (let a = 0; a < size; a++) {
        right[a] += weight * row[a] * residual;
        for (let b = a; b < size; b++) matrix[a][b] += weight * row[a] * row[b];
      }
    }
    for (let a = 0; a < size; a++) {
      matrix[a][a] *= 1.0001;
      for (let b = 0; b < a; b++) matrix[a][b] = matrix[b][a];
    }
    const step = solve(matrix, right);
    const by = kind === "affine" ? step : [step[0], step[2], -step[3], step[1], step[3], step[2]];
    map = map.map((value, i) => value + by[i]);
    if (Math.hypot(...by) < 1e-5) break;
  }
  return map;
}

/** The map in the pictures' own pixels, from the moving to the fixed one. */
function describe(map: Map6, fixed: Pixels, moving: Pixels): Omit<Registration, "quality"> {
  const ratio = half(moving) / half(fixed);
  // Fixed to moving: x' = a x + c y + e.
  const [a, c, b, d] = [map[1], map[2], map[4], map[5]].map((value) => value * ratio);
  const e = map[0] * half(moving) + moving.width / 2 - a * (fixed.width / 2) - c * (fixed.height / 2);
  const f = map[3] * half(moving) + moving.height / 2 - b * (fixed.width / 2) - d * (fixed.height / 2);
  const transform = invert([a, b, c, d, e, f]);
  const [p, q] = transform;
  const determinant = transform[0] * transform[3] - transform[1] * transform[2];
  return { transform, turn: (Math.atan2(q, p) * 180) / Math.PI, zoom: Math.sqrt(Math.abs(determinant)) };
}

export function invert([a, b, c, d, e, f]: Affine): Affine {
  const determinant = a * d - b * c;
  const [p, q, r, s] = [d / determinant, -b / determinant, -c / determinant, a / determinant];
  return [p, q, r, s, -(p * e + r * f), -(q * e + s * f)];
}

export function applied([a, b, c, d, e, f]: Affine, { x, y }: { x: number; y: number }): { x: number; y: number } {
  return { x: a * x + c * y + e, y: b * x + d * y + f };
}

/** What is read off an outline: area, longest diameter, asymmetry, border; with the error that is known of each. */

import { rasterise, signedArea } from "./contour";
import type { Point } from "./raster";
import type { Scale } from "./scale";

export interface Figures {
  /** Square pixels. */
  area: number;
  /** Pixels: the largest distance of two points of the outline (Feret's diameter). */
  diameter: number;
  perimeter: number;
  /** 0 (mirror-symmetric about its two main axes) to 1: mean share that does not overlap its own mirror image. */
  asymmetry: number;
  /** Perimeter² / (4 pi area): 1 for a circle, more for an irregular border. */
  border: number;
  /** Area over that of the convex hull: 1 without bays. */
  solidity: number;
}

export function area(shape: readonly Point[]): number {
  return Math.abs(signedArea(shape));
}

export function perimeter(shape: readonly Point[]): number {
  let sum = 0;
  shape.forEach((a, i) => {
    const b = shape[(i + 1) % shape.length];
    sum += Math.hypot(a.x - b.x, a.y - b.y);
  });
  return sum;
}

/** Convex hull, by Andrew's monotone chain. */
export function convexHull(points: readonly Point[]): Point[] {
  const sorted = [...points].sort((a, b) => a.x - b.x || a.y - b.y);
  if (sorted.length < 3) return sorted;
  const turn = (o: Point, a: Point, b: Point): number => (a.x - o.x) * (b.y - o.y) - (a.y - o.y) * (b.x - o.x);
  const half = (list: readonly Point[]): Point[] => {
    const chain: Point[] = [];
    for (const point of list) {
      while (chain.length > 1 && turn(chain[chain.length - 2], chain[chain.length - 1], point) <= 0) chain.pop();
      chain.push(point);
    }
    return chain.slice(0, -1);
  };
  return [...half(sorted), ...half(sorted.reverse())];
}

export function longestDiameter(shape: readonly Point[]): number {
  const hull = convexHull(shape);
  let most = 0;
  for (const a of hull) for (const b of hull) most = Math.max(most, Math.hypot(a.x - b.x, a.y - b.y));
  return most;
}

const GRID = 128; // cells a side on which mirror images are compared

/** Mean, over the two main axes, of the share that does not overlap the mirror image. */
export function asymmetry(shape: readonly Point[]): number {
  const hull = longestDiameter(shape);
  if (hull === 0) return 0;
  const grid = rasterise([normalised(shape, (1.1 * hull) / GRID)], GRID, GRID);
  // Centroid and main axes of the cells.
  let n = 0;
  let sx = 0;
  let sy = 0;
  const cells: [number, number][] = [];
  grid.values.forEach((value, i) => {
    if (value === 0) return;
    const x = i % GRID;
    cells.push([x, (i - x) / GRID]);
    n += 1;
    sx += x;
    sy += (i - x) / GRID;
  });
  if (n === 0) return 0;
  const [cx, cy] = [sx / n, sy / n];
  let xx = 0;
  let yy = 0;
  let xy = 0;
  for (const [x, y] of cells) {
    xx += (x - cx) ** 2;
    yy += (y - cy) ** 2;
    xy += (x - cx) * (y - cy);
  }
  const angle = 0.5 * Math.atan2(2 * xy, xx - yy);
  const missed = [angle, angle + Math.PI / 2].map((axis) => {
    const [c, s] = [Math.cos(2 * axis), Math.sin(2 * axis)];
    let outside = 0;
    for (const [x, y] of cells) {
      const mx = Math.round(cx + c * (x - cx) + s * (y - cy));
      const my = Math.round(cy + s * (x - cx) - c * (y - cy));
      if (mx < 0 || my < 0 || mx >= GRID || my >= GRID || grid.values[my * GRID + mx] === 0) outside += 1;
    }
    return outside / n;
  });
  return (missed[0] + missed[1]) / 2;
}

/** The shape's bounding circle moved into a grid of cells of `cell` pixels. */
function normalised(shape: readonly Point[], cell: number): Point[] {
  const xs = shape.map(({ x }) => x);
  const ys = shape.map(({ y }) => y);
  const middle = { x: (Math.min(...xs) + Math.max(...xs)) / 2, y: (Math.min(...ys) + Math.max(...ys)) / 2 };
  return shape.map(({ x, y }) => ({ x: (x - middle.x) / cell + GRID / 2, y: (y - middle.y) / cell + GRID / 2 }));
}

export function figures(shape: readonly Point[]): Figures {
  const [a, p] = [area(shape), perimeter(shape)];
  return {
    area: a,
    diameter: longestDiameter(shape),
    perimeter: p,
    asymmetry: asymmetry(shape),
    border: a > 0 ? (p * p) / (4 * Math.PI * a) : 0,
    solidity: a > 0 ? a / Math.max(a, area(convexHull(shape))) : 0,
  };
}

/** A figure and its standard error, in the same unit. */
export interface Measured {
  value: number;
  error: number;
}

/**
 * How far a proposed outline lies from the true one, along its normal, as a share of the image's longer side.
 *
 * Measured on drawn lesions of known area (app/tests/measure.test.ts): see docs/app.md for the errors of the area.
 */
export const OUTLINE_ERROR = 0.0025;

/** Largest errors of a proposed outline's asymmetry, and of its border as a share, on drawn lesions (the same test). */
export const SHAPE_ERRORS = { asymmetry: 0.03, border: 0.07 };

/** Area in mm², with what the outline and the scale add to its error. */
export function areaMm2(shapes: readonly (readonly Point[])[], scale: Scale, longerSide: number): Measured {
  const pixels = shapes.reduce((sum, shape) => sum + area(shape), 0);
  const length = shapes.reduce((sum, shape) => sum + perimeter(shape), 0);
  const outline = pixels > 0 ? (length * OUTLINE_ERROR * longerSide) / pixels : 0;
  const value = pixels * scale.mmPerPixel ** 2;
  return { value, error: value * Math.hypot(outline, 2 * scale.relativeError) };
}

/** Longest diameter in mm. */
export function diameterMm(shape: readonly Point[], scale: Scale, longerSide: number): Measured {
  const pixels = longestDiameter(shape);
  const outline = pixels > 0 ? (Math.SQRT2 * OUTLINE_ERROR * longerSide) / pixels : 0;
  const value = pixels * scale.mmPerPixel;
  return { value, error: value * Math.hypot(outline, scale.relativeError) };
}

/** Change from one measurement to the next, in per cent of the first; `clear` where it exceeds twice its error. */
export function change(before: Measured, after: Measured): Measured & { clear: boolean } {
  const value = (100 * (after.value - before.value)) / before.value;
  const error = (100 * Math.hypot(after.error, (after.value / before.value) * before.error)) / before.value;
  return { value, error, clear: Math.abs(value) > 2 * error };
}

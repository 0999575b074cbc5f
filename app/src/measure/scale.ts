/** From pixels to millimetres: a ruler or a coin in the picture, or the known field of a dermatoscope. */

import { solve } from "./light";
import type { Point } from "./raster";

export type ScaleSource = "ruler" | "coin" | "field";

export interface Scale {
  source: ScaleSource;
  mmPerPixel: number;
  /** Standard error of `mmPerPixel` over itself. */
  relativeError: number;
}

/** Standard error of a point set by finger, as a share of the image's longer side. */
export const TAP_ERROR = 0.004;
/** Makers' fields of view and coins' wear: a fiftieth for the former, hardly anything for the latter. */
const FIELD_ERROR = 0.02;
const COIN_ERROR = 0.005;

/** Coins that are common as a scale, by diameter in mm (the mints' own figures). */
export const COINS = [
  { id: "cny1", name: "¥1 (2019)", diameter: 22.25 },
  { id: "cny1old", name: "¥1 (1999–2018)", diameter: 25 },
  { id: "eur1", name: "€1", diameter: 23.25 },
  { id: "eur2", name: "€2", diameter: 25.75 },
  { id: "usd001", name: "US 1¢", diameter: 19.05 },
  { id: "usd025", name: "US 25¢", diameter: 24.26 },
  { id: "gbp1", name: "£1 (2017)", diameter: 23.43 },
] as const;

/** Two marks of a ruler, `mm` millimetres apart. */
export function rulerScale(a: Point, b: Point, mm: number, longerSide: number): Scale | null {
  const pixels = Math.hypot(a.x - b.x, a.y - b.y);
  if (!(pixels > 0) || !(mm > 0)) return null;
  return { source: "ruler", mmPerPixel: mm / pixels, relativeError: (Math.SQRT2 * TAP_ERROR * longerSide) / pixels };
}

/** The circle nearest to three or more points (least squares, Kåsa 1976); null where they lie on a line. */
export function circleThrough(points: readonly Point[]): { centre: Point; radius: number } | null {
  if (points.length < 3) return null;
  const mx = points.reduce((sum, { x }) => sum + x, 0) / points.length;
  const my = points.reduce((sum, { y }) => sum + y, 0) / points.length;
  const matrix = [0, 1, 2].map(() => [0, 0, 0]);
  const right = [0, 0, 0];
  for (const point of points) {
    const row = [point.x - mx, point.y - my, 1];
    const value = row[0] ** 2 + row[1] ** 2;
    for (let i = 0; i < 3; i++) {
      right[i] += row[i] * value;
      for (let j = 0; j < 3; j++) matrix[i][j] += row[i] * row[j];
    }
  }
  const spread = matrix[0][0] + matrix[1][1];
  if (matrix[0][0] * matrix[1][1] - matrix[0][1] ** 2 <= 1e-6 * spread * spread) return null;
  const [a, b, c] = solve(matrix, right);
  const radius = Math.sqrt(c + (a * a + b * b) / 4);
  return Number.isFinite(radius) ? { centre: { x: mx + a / 2, y: my + b / 2 }, radius } : null;
}

/** Points on the rim of a coin of `mm` millimetres. */
export function coinScale(rim: readonly Point[], mm: number, longerSide: number): Scale | null {
  const circle = circleThrough(rim);
  if (circle === null || !(mm > 0)) return null;
  const diameter = 2 * circle.radius;
  const taps = (2 * TAP_ERROR * longerSide) / (Math.sqrt(rim.length - 2) * diameter);
  return { source: "coin", mmPerPixel: mm / diameter, relativeError: Math.hypot(taps, COIN_ERROR) };
}

/** A field `mm` millimetres wide that fills the image's width. */
export function fieldScale(mm: number, width: number): Scale | null {
  if (!(mm > 0) || !(width > 0)) return null;
  return { source: "field", mmPerPixel: mm / width, relativeError: FIELD_ERROR };
}

/** Per cent of a region that patches cover, read off one photograph: no scale is needed, but the region has to lie flat. */

import { rasterise } from "../measure/contour";
import type { Point } from "../measure/raster";

const GRID = 512; // cells of the region's longer side

/** Share (0 to 1) of the region that lies inside any patch; null without a region. */
export function fractionOfRegion(
  region: readonly Point[] | null,
  patches: readonly (readonly Point[])[],
): number | null {
  if (region === null || region.length < 3) return null;
  const xs = region.map(({ x }) => x);
  const ys = region.map(({ y }) => y);
  const [left, top] = [Math.min(...xs), Math.min(...ys)];
  const cell = Math.max(Math.max(...xs) - left, Math.max(...ys) - top) / GRID;
  if (!(cell > 0)) return null;
  const onGrid = (shape: readonly Point[]): Point[] =>
    shape.map(({ x, y }) => ({ x: (x - left) / cell, y: (y - top) / cell }));
  const inside = rasterise([onGrid(region)], GRID + 1, GRID + 1);
  const pale = rasterise(patches.map(onGrid), GRID + 1, GRID + 1);
  let all = 0;
  let covered = 0;
  inside.values.forEach((value, i) => {
    all += value;
    covered += value & pale.values[i];
  });
  return all > 0 ? covered / all : null;
}

/** Outlines: where a plane crosses a level, to a fraction of a pixel (marching squares), and polygons back to masks. */

import { type Mask, newMask, type Plane, type Point } from "./raster";

/**
 * Closed outlines around what lies above `level`, outer ones only, clockwise on the screen.
 *
 * Coordinates are those of the image: the centre of the first pixel is (0.5, 0.5).
 */
export function outlines(plane: Plane, level: number): Point[][] {
  const { width, height } = plane;
  // A border below the level closes every outline.
  const w = width + 2;
  const at = (x: number, y: number): number =>
    x < 1 || y < 1 || x > width || y > height ? level - 1 : plane.values[(y - 1) * width + x - 1];
  const cross = (a: number, b: number): number => Math.min(1, Math.max(0, (level - a) / (b - a)));
  // Each crossing of an edge between neighbours has a key; segments link them, the inside on the left hand.
  const points = new Map<number, Point>();
  const next = new Map<number, number>();
  const horizontal = (x: number, y: number): number => {
    const key = (y * w + x) * 2;
    if (!points.has(key)) points.set(key, { x: x - 0.5 + cross(at(x, y), at(x + 1, y)), y: y - 0.5 });
    return key;
  };
  const vertical = (x: number, y: number): number => {
    const key = (y * w + x) * 2 + 1;
    if (!points.has(key)) points.set(key, { x: x - 0.5, y: y - 0.5 + cross(at(x, y), at(x, y + 1)) });
    return key;
  };
  for (let y = 0; y <= height; y++) {
    for (let x = 0; x <= width; x++) {
      const corners =
        (at(x, y) > level ? 1 : 0) |
        (at(x + 1, y) > level ? 2 : 0) |
        (at(x + 1, y + 1) > level ? 4 : 0) |
        (at(x, y + 1) > level ? 8 : 0);
      if (corners === 0 || corners === 15) continue;
      const top = (): number => horizontal(x, y);
      const bottom = (): number => horizontal(x, y + 1);
      const left = (): number => vertical(x, y);
      const right = (): number => vertical(x + 1, y);
      const link = (from: number, to: number): void => void next.set(from, to);
      switch (corners) {
        case 1: link(left(), top()); break; // prettier-ignore
        case 2: link(top(), right()); break; // prettier-ignore
        case 3: link(left(), right()); break; // prettier-ignore
        case 4: link(right(), bottom()); break; // prettier-ignore
        case 5: link(left(), top()); link(right(), bottom()); break; // prettier-ignore
        case 6: link(top(), bottom()); break; // prettier-ignore
        case 7: link(left(), bottom()); break; // prettier-ignore
        case 8: link(bottom(), left()); break; // prettier-ignore
        case 9: link(bottom(), top()); break; // prettier-ignore
        case 10: link(top(), right()); link(bottom(), left()); break; // prettier-ignore
        case 11: link(bottom(), right()); break; // prettier-ignore
        case 12: link(right(), left()); break; // prettier-ignore
        case 13: link(right(), top()); break; // prettier-ignore
        case 14: link(top(), left()); break; // prettier-ignore
      }
    }
  }
  const found: Point[][] = [];
  while (next.size > 0) {
    const [start] = next.keys();
    const outline: Point[] = [];
    let at = start;
    while (next.has(at)) {
      outline.push(points.get(at)!);
      const to = next.get(at)!;
      next.delete(at);
      at = to;
    }
    // Outer outlines run against the clock, holes with it.
    if (outline.length > 2 && signedArea(outline) < 0) found.push(outline.reverse());
  }
  return found;
}

/** Positive where the outline runs clockwise as seen on a screen (y down). */
export function signedArea(outline: readonly Point[]): number {
  let sum = 0;
  for (let i = 0; i < outline.length; i++) {
    const a = outline[i];
    const b = outline[(i + 1) % outline.length];
    sum += a.x * b.y - b.x * a.y;
  }
  return sum / 2;
}

/** Which pixels' centres lie inside any of the outlines (even-odd rule). */
export function rasterise(shapes: readonly (readonly Point[])[], width: number, height: number): Mask {
  const mask = newMask(width, height);
  for (const shape of shapes) {
    for (let y = 0; y < height; y++) {
      const level = y + 0.5;
      const crossings: number[] = [];
      for (let i = 0; i < shape.length; i++) {
        const a = shape[i];
        const b = shape[(i + 1) % shape.length];
        if (a.y <= level !== b.y <= level) crossings.push(a.x + ((level - a.y) / (b.y - a.y)) * (b.x - a.x));
      }
      crossings.sort((p, q) => p - q);
      for (let i = 0; i + 1 < crossings.length; i += 2) {
        const from = Math.max(0, Math.ceil(crossings[i] - 0.5));
        const to = Math.min(width - 1, Math.ceil(crossings[i + 1] - 0.5) - 1);
        for (let x = from; x <= to; x++) mask.values[y * width + x] = 1;
      }
    }
  }
  return mask;
}

/** Fewer points with the same shape: none of the points left out lies further than `tolerance` from the outline (Douglas and Peucker, 1973). */
export function simplify(outline: readonly Point[], tolerance: number): Point[] {
  if (outline.length < 5) return [...outline];
  let far = 0;
  for (let i = 1; i < outline.length; i++) {
    if (gap(outline[i], outline[0]) > gap(outline[far], outline[0])) far = i;
  }
  const first = reduce(outline.slice(0, far + 1), tolerance);
  const second = reduce([...outline.slice(far), outline[0]], tolerance);
  return [...first.slice(0, -1), ...second.slice(0, -1)];
}

function gap(a: Point, b: Point): number {
  return Math.hypot(a.x - b.x, a.y - b.y);
}

function reduce(line: readonly Point[], tolerance: number): Point[] {
  const [a, b] = [line[0], line[line.length - 1]];
  const length = gap(a, b) || 1e-9;
  let far = 0;
  let most = 0;
  for (let i = 1; i + 1 < line.length; i++) {
    const away = Math.abs((b.x - a.x) * (a.y - line[i].y) - (a.x - line[i].x) * (b.y - a.y)) / length;
    if (away > most) [far, most] = [i, away];
  }
  if (most <= tolerance) return [a, b];
  return [...reduce(line.slice(0, far + 1), tolerance).slice(0, -1), ...reduce(line.slice(far), tolerance)];
}

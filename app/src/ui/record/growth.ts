/** Sizes of a lesion over its visits; VASI and area of a patient's patches over the sheets. */

import { hasTotal, vasi } from "../../hypo/vasi";
import { areaMm2, diameterMm, type Measured } from "../../measure/figures";
import type { Visit } from "../../notebook/types";
import type { Measure, PhotoPair, Sheet, SheetPhoto } from "../../patients/types";
import type { CurvePoint } from "./Curve";

export interface Size {
  day: string;
  area: Measured;
  diameter: Measured;
}

interface Photo {
  width: number;
  height: number;
  measure?: Measure;
}

export function sizeOf(photo: Photo): Omit<Size, "day"> | null {
  const { measure } = photo;
  if (measure === undefined || measure.scale === null || measure.shapes.length === 0) return null;
  const longer = Math.max(photo.width, photo.height);
  const area = areaMm2(measure.shapes, measure.scale, longer);
  if (!(area.value > 0)) return null; // a line: nothing can be compared with it
  return {
    area,
    diameter: diameterMm(measure.shapes[0], measure.scale, longer),
  };
}

/** One size a visit: that of its first photograph with an outline and a scale. */
export function sizesOver(visits: readonly Visit[]): Size[] {
  return visits.flatMap((visit) => {
    const found = visit.photos.map(sizeOf).find((size) => size !== null);
    return found ? [{ day: visit.date, ...found }] : [];
  });
}

/** VASI over dates; the error reaches to the borders of the steps of depigmentation. */
export function vasiCurve(sheets: readonly Sheet[]): CurvePoint[] {
  return sheets.flatMap(({ date, scores }) => {
    if (!hasTotal(scores)) return [];
    const { total, low, high } = vasi(scores);
    return [{ day: date, value: total, error: (high - low) / 2 }];
  });
}

/** The photograph of a region whose patches count: that in visible light where it has outlines, or else Wood's lamp. */
const lightOf = ({ visible, wood }: PhotoPair): SheetPhoto | null =>
  [visible, wood].find((photo) => photo && photo.measure.shapes.length > 0) ?? null;

/** Area of all outlined patches, visible light first; null where one of them has no scale: a part is not the whole. */
export function patchArea(sheet: Sheet): Measured | null {
  const outlined = sheet.pairs.flatMap((pair) => lightOf(pair) ?? []);
  const sizes = outlined.flatMap((photo) => sizeOf(photo)?.area ?? []);
  if (sizes.length === 0 || sizes.length < outlined.length) return null;
  return {
    value: sizes.reduce((sum, { value }) => sum + value, 0),
    error: Math.hypot(...sizes.map(({ error }) => error)),
  };
}

/** Areas over dates, of those that show the same regions in the same light as the last one with an area. */
export function areaCurve(sheets: readonly Sheet[]): CurvePoint[] {
  const seen = (sheet: Sheet): string =>
    sheet.pairs
      .flatMap((pair) => {
        const photo = lightOf(pair);
        return photo === null ? [] : [`${pair.region} ${photo.measure.target}`];
      })
      .sort()
      .join();
  const points = sheets.flatMap((sheet) => {
    const area = patchArea(sheet);
    return area ? [{ day: sheet.date, ...area, seen: seen(sheet) }] : [];
  });
  return points.filter((point) => point.seen === points.at(-1)?.seen);
}

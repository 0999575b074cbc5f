/** Sizes of a lesion over its visits. */

import { areaMm2, diameterMm, type Measured } from "../../measure/figures";
import type { Visit } from "../../notebook/types";
import type { Measure } from "../../patients/types";

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
  return {
    area: areaMm2(measure.shapes, measure.scale, longer),
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

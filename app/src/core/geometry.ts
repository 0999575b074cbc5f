/** From a stored image to the part that is classified: EXIF orientation, then quarter turns, then a crop. */

export interface Size {
  width: number;
  height: number;
}

/** A rectangle in whole pixels of the upright, turned image. */
export interface Crop extends Size {
  x: number;
  y: number;
}

/** What a person did to a photograph before it was classified. */
export interface Edit {
  /** Clockwise quarter turns, 0 to 3. */
  turns: number;
  /** Null: the whole image. */
  crop: Crop | null;
}

export const NO_EDIT: Edit = { turns: 0, crop: null };

/** An affine map of pixel coordinates: x' = a x + c y + e, y' = b x + d y + f (as `CanvasTransform.setTransform`). */
export type Affine = readonly [a: number, b: number, c: number, d: number, e: number, f: number];

function compose(outer: Affine, inner: Affine): Affine {
  const [a, b, c, d, e, f] = outer;
  const [p, q, r, s, t, u] = inner;
  return [a * p + c * q, b * p + d * q, a * r + c * s, b * r + d * s, a * t + c * u + e, b * t + d * u + f];
}

/** The map that turns a stored image of `width` x `height` upright, for EXIF orientations 1 to 8. */
export function orientationTransform(orientation: number, { width: w, height: h }: Size): Affine {
  switch (orientation) {
    case 2:
      return [-1, 0, 0, 1, w, 0];
    case 3:
      return [-1, 0, 0, -1, w, h];
    case 4:
      return [1, 0, 0, -1, 0, h];
    case 5:
      return [0, 1, 1, 0, 0, 0];
    case 6:
      return [0, 1, -1, 0, h, 0];
    case 7:
      return [0, -1, -1, 0, h, w];
    case 8:
      return [0, -1, 1, 0, 0, w];
    default:
      return [1, 0, 0, 1, 0, 0];
  }
}

/** Size after the EXIF orientation. */
export function orientedSize(orientation: number, { width, height }: Size): Size {
  return orientation >= 5 ? { width: height, height: width } : { width, height };
}

/** Size after clockwise quarter turns. */
export function turnedSize(turns: number, { width, height }: Size): Size {
  return turns % 2 === 1 ? { width: height, height: width } : { width, height };
}

const TURN_AS_ORIENTATION = [1, 6, 3, 8];

/**
 * The map from stored pixels to pixels of the cropped result, and the result's size.
 *
 * @param stored size of the decoded, not yet oriented image
 */
export function placement(stored: Size, orientation: number, edit: Edit): { transform: Affine; size: Size } {
  const upright = orientedSize(orientation, stored);
  const turned = turnedSize(edit.turns, upright);
  const turn = orientationTransform(TURN_AS_ORIENTATION[edit.turns % 4], upright);
  const crop = clampCrop(edit.crop, turned);
  const oriented = compose(turn, orientationTransform(orientation, stored));
  return {
    transform: compose([1, 0, 0, 1, -crop.x, -crop.y], oriented),
    size: { width: crop.width, height: crop.height },
  };
}

/** A crop in whole pixels inside the image, at least one pixel a side; null is the whole image. */
export function clampCrop(crop: Crop | null, { width, height }: Size): Crop {
  if (crop === null) return { x: 0, y: 0, width, height };
  const x = Math.min(Math.max(Math.round(crop.x), 0), width - 1);
  const y = Math.min(Math.max(Math.round(crop.y), 0), height - 1);
  return {
    x,
    y,
    width: Math.min(Math.max(Math.round(crop.width), 1), width - x),
    height: Math.min(Math.max(Math.round(crop.height), 1), height - y),
  };
}

/** The largest square in the middle. */
export function centreSquare({ width, height }: Size): Crop {
  const side = Math.min(width, height);
  return { x: Math.floor((width - side) / 2), y: Math.floor((height - side) / 2), width: side, height: side };
}

/** The crop that marks the same pixels after one more clockwise quarter turn of an image of this (turned) size. */
export function turnCrop(crop: Crop, { height }: Size): Crop {
  return { x: height - crop.y - crop.height, y: crop.x, width: crop.height, height: crop.width };
}

/** Steps 1 to 4 of the preprocessing contract in a browser: decode, composite on white, turn upright, resize. */

import { AppError } from "../core/errors";
import { type Edit, placement, type Size } from "../core/geometry";
import { type ImageHeader, readHeader, withoutOrientation } from "../core/header";
import { resizeColumns, resizeRows, triangleWeights } from "../core/resize";

const STRIP_PIXELS = 4_000_000; // what is read back at once: bounds memory, and some phones refuse larger canvases

/** A decoded photograph as it is stored in the file, not yet upright. Close it after use. */
export interface Decoded {
  bitmap: ImageBitmap;
  orientation: number;
  /** The format has no transparency. */
  opaque: boolean;
}

/**
 * Decode an image file.
 *
 * @throws AppError: no image, too large, damaged, or a format this browser cannot show
 */
export async function decode(blob: Blob): Promise<Decoded> {
  const header = await readHeader(blob);
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(withoutOrientation(blob, header), {
      imageOrientation: "from-image",
      colorSpaceConversion: "none", // samples are taken as sRGB
      premultiplyAlpha: "none",
    });
  } catch {
    throw decodeError(header);
  }
  return { bitmap, orientation: header.orientation, opaque: header.format === "jpeg" };
}

function decodeError(header: ImageHeader): AppError {
  if (header.format === "heic") return new AppError("imageHeic");
  if (header.format === "avif") return new AppError("imageAvif");
  return new AppError("imageDamaged");
}

/** Resize the edited part straight to a square: (size, size, 3) uint8, RGB. */
export function toSquare({ bitmap, orientation }: Decoded, edit: Edit, size: number): Uint8Array<ArrayBuffer> {
  const { transform, size: part } = placement(bitmap, orientation, edit);
  const rows = Math.min(part.height, Math.max(1, Math.floor(STRIP_PIXELS / part.width)));
  const context = stripCanvas({ width: part.width, height: rows });
  const weights = triangleWeights(part.width, size);
  const narrow = new Uint8Array(part.height * size * 3);
  context.imageSmoothingEnabled = false; // pixels are moved, not interpolated
  for (let y = 0; y < part.height; y += rows) {
    const count = Math.min(rows, part.height - y);
    const [a, b, c, d, e, f] = transform;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillRect(0, 0, part.width, rows);
    context.setTransform(a, b, c, d, e, f - y);
    context.drawImage(bitmap, 0, 0);
    resizeRows(context.getImageData(0, 0, part.width, count).data, count, weights, narrow, y);
  }
  return resizeColumns(narrow, size, triangleWeights(part.height, size));
}

/**
 * The edited part for display, its longer side at most `longest` pixels.
 *
 * It is the bitmap itself where that is the picture already, or else the bitmap is closed.
 */
export function toPicture(
  { bitmap, orientation, opaque }: Decoded,
  edit: Edit,
  longest: number,
): { picture: ImageBitmap; size: Size } {
  const { transform, size } = placement(bitmap, orientation, edit);
  const scale = Math.min(1, longest / Math.max(size.width, size.height));
  const whole = size.width === bitmap.width && size.height === bitmap.height;
  if (opaque && whole && scale === 1 && orientation === 1 && edit.turns % 4 === 0) return { picture: bitmap, size };
  const context = opaqueCanvas({
    width: Math.max(1, Math.round(size.width * scale)),
    height: Math.max(1, Math.round(size.height * scale)),
  });
  context.imageSmoothingQuality = "high";
  const [a, b, c, d, e, f] = transform.map((value) => value * scale);
  context.setTransform(a, b, c, d, e, f);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return { picture: context.canvas.transferToImageBitmap(), size };
}

let strip: OffscreenCanvasRenderingContext2D | null = null;

/** A canvas to read back from, at least of a size. It is kept for the next photograph, since making one is slow. */
function stripCanvas(size: Size): OffscreenCanvasRenderingContext2D {
  if (strip === null || strip.canvas.width < size.width || strip.canvas.height < size.height)
    strip = opaqueCanvas(size, true);
  return strip;
}

/** A canvas filled with white, on which transparency is composited. */
function opaqueCanvas({ width, height }: Size, readBack = false): OffscreenCanvasRenderingContext2D {
  const context = new OffscreenCanvas(width, height).getContext("2d", { alpha: false, willReadFrequently: readBack });
  if (context === null) throw new AppError("canvasUnavailable");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  return context;
}

/**
 * Check that pixels read back from a canvas are those that were drawn.
 *
 * Some privacy settings answer with noise instead, and a classification of noise would be believed.
 *
 * @throws AppError: they are not
 */
export function checkReadBack(): void {
  const side = 16;
  const drawn = new ImageData(side, side);
  for (let i = 0; i < drawn.data.length; i++) drawn.data[i] = i % 4 === 3 ? 255 : (i * 37) % 256;
  const context = opaqueCanvas({ width: side, height: side }, true);
  context.putImageData(drawn, 0, 0);
  const read = context.getImageData(0, 0, side, side).data;
  if (drawn.data.some((value, i) => Math.abs(value - read[i]) > 2)) throw new AppError("canvasBlocked");
}

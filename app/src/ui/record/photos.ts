/** Kept photographs as pixels, and new ones as what is kept. */

import type { Pixels } from "../../measure/raster";
import type { SheetPhoto } from "../../patients/types";
import type { Target } from "../../measure/segment";
import { NO_EDIT } from "../../core/geometry";
import { engine } from "../../state/engine";

const JPEG_QUALITY = 0.9;

export async function photoPixels(image: Blob): Promise<Pixels> {
  const bitmap = await createImageBitmap(image);
  const { width, height } = bitmap;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return { width, height, data: context.getImageData(0, 0, width, height).data };
}

/** A chosen file, turned upright and scaled down; the same decoder as for a check, so that errors are told alike. */
export async function sheetPhoto(file: Blob, target: Target): Promise<SheetPhoto> {
  const { picture } = await engine.call("preview", { blob: file, edit: NO_EDIT });
  const { width, height } = picture;
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d")!.drawImage(picture, 0, 0);
  picture.close();
  return {
    image: await canvas.convertToBlob({ type: "image/jpeg", quality: JPEG_QUALITY }),
    width,
    height,
    measure: { target, shapes: [], proposed: true, scale: null },
    region: null,
  };
}

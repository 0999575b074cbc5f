/** Kept photographs as pixels, and new ones as what is kept. */

import type { Pixels } from "../../measure/raster";
import type { SheetPhoto } from "../../patients/types";
import type { Target } from "../../measure/segment";
import { type Edit, NO_EDIT } from "../../core/geometry";
import { jpegOf } from "../../notebook/record";
import { engine } from "../../state/engine";

export async function photoPixels(image: Blob): Promise<Pixels> {
  const bitmap = await createImageBitmap(image);
  const { width, height } = bitmap;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return { width, height, data: context.getImageData(0, 0, width, height).data };
}

/** A photograph turned upright, cropped and scaled down; the same decoder as for a check, so that errors are told alike. */
export async function keptPhoto(blob: Blob, edit: Edit = NO_EDIT): ReturnType<typeof jpegOf> {
  const { picture } = await engine.call("preview", { blob, edit });
  const kept = await jpegOf(picture);
  picture.close();
  return kept;
}

export async function sheetPhoto(file: Blob, target: Target, edit?: Edit): Promise<SheetPhoto> {
  return {
    ...(await keptPhoto(file, edit)),
    measure: { target, shapes: [], proposed: true, scale: null },
    region: null,
  };
}

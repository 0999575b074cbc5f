/** A proposed outline against a mask drawn by a person; run in a browser by build/outlines.mjs. */

import { fromBase64 } from "../core/base64";
import { rasterise } from "./contour";
import type { Pixels } from "./raster";
import { segment } from "./segment";

async function pixelsOf(base64: string, side: number): Promise<Pixels> {
  const bitmap = await createImageBitmap(new Blob([fromBase64(base64)]));
  const factor = Math.min(1, side / Math.max(bitmap.width, bitmap.height));
  const [width, height] = [Math.round(bitmap.width * factor), Math.round(bitmap.height * factor)];
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  return { width, height, data: context.getImageData(0, 0, width, height).data };
}

export interface Agreement {
  /** Intersection over union. */
  jaccard: number;
  /** Proposed area over the mask's. */
  area: number;
  doubted: boolean;
}

export async function agreement(image: string, mask: string, side: number): Promise<Agreement> {
  const [picture, drawn] = await Promise.all([pixelsOf(image, side), pixelsOf(mask, side)]);
  if (picture.width !== drawn.width || picture.height !== drawn.height)
    throw new Error("image and mask differ in size");
  const { shapes, doubts } = segment(picture, "dark");
  const found = rasterise(shapes, picture.width, picture.height);
  let [both, either, ours, theirs] = [0, 0, 0, 0];
  for (let i = 0; i < found.values.length; i++) {
    const a = found.values[i];
    const b = drawn.data[i * 4] > 127 ? 1 : 0;
    both += a & b;
    either += a | b;
    ours += a;
    theirs += b;
  }
  return {
    jaccard: either > 0 ? both / either : 1,
    area: theirs > 0 ? ours / theirs : Number.NaN,
    doubted: doubts.length > 0,
  };
}

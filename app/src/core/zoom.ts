/** Zooming into a picture that is shown fitted into a stage. */

import type { Size } from "./geometry";

/** How a fitted picture is shown: enlarged by `scale` about the stage's centre, then moved by CSS pixels. */
export interface View {
  scale: number;
  x: number;
  y: number;
}

export const FITTED: View = { scale: 1, x: 0, y: 0 };

/** The largest scale: at least 4, and as large as shows each pixel of the picture as 4 by 4 pixels. */
export function largestScale(picture: Size, fitted: Size): number {
  return Math.max(4, (4 * picture.width) / Math.max(fitted.width, 1));
}

/** The size of a picture fitted into a stage, never enlarged. */
export function fit(picture: Size, stage: Size): Size {
  const scale = Math.min(1, stage.width / picture.width, stage.height / picture.height);
  return { width: picture.width * scale, height: picture.height * scale };
}

/** The view after a move, held so that the picture does not leave the stage. */
export function moved(view: View, dx: number, dy: number, fitted: Size, stage: Size): View {
  const limit = (side: number, room: number): number => Math.max(0, (side * view.scale - room) / 2);
  const hold = (value: number, most: number): number => Math.min(Math.max(value, -most), most);
  return {
    scale: view.scale,
    x: hold(view.x + dx, limit(fitted.width, stage.width)),
    y: hold(view.y + dy, limit(fitted.height, stage.height)),
  };
}

/** The view enlarged by a factor, with the point (from the stage's centre, CSS pixels) staying where it is. */
export function zoomed(view: View, factor: number, point: { x: number; y: number }, most: number): View {
  const scale = Math.min(Math.max(view.scale * factor, 1), most);
  const real = scale / view.scale;
  return { scale, x: point.x - (point.x - view.x) * real, y: point.y - (point.y - view.y) * real };
}

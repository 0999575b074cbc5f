/** Where the guide's square lies in the camera's frame, which fills the stage and is cut where it is longer. */

import type { Crop, Size } from "./geometry";

/** Side of the guide, as a fraction of the stage's shorter side. */
export const GUIDE = 0.78;

/**
 * The guide's square in the frame's own pixels.
 *
 * @param stage size of what the frame fills, CSS pixels
 */
export function guideSquare(frame: Size, stage: Size): Crop {
  const scale = Math.max(stage.width / frame.width, stage.height / frame.height); // CSS pixels a pixel of the frame
  const wanted = Math.round((GUIDE * Math.min(stage.width, stage.height)) / scale);
  const side = Math.max(1, Math.min(wanted, frame.width, frame.height));
  return {
    x: Math.floor((frame.width - side) / 2),
    y: Math.floor((frame.height - side) / 2),
    width: side,
    height: side,
  };
}

/** How a phone is held, from the acceleration that includes gravity (m/s², axes of the screen). */

export type Level =
  /** Lying: the camera looks straight down or up; `tilt` is how far it is from that, in degrees. */
  | { kind: "flat"; tilt: number }
  /** Standing: `roll` is how far it is turned about the camera's axis from the nearest quarter turn, in degrees. */
  | { kind: "upright"; roll: number };

export const LEVEL_WITHIN = 3; // degrees that count as level

const FLAT_WITHIN = 30; // degrees between the camera's axis and the vertical below which the phone lies

const degrees = (radians: number): number => (radians * 180) / Math.PI;

/** Null where the reading says nothing, as in free fall. */
export function levelOf({ x, y, z }: { x: number; y: number; z: number }): Level | null {
  const gravity = Math.hypot(x, y, z);
  if (!(gravity > 4)) return null;
  const tilt = degrees(Math.acos(Math.min(1, Math.abs(z) / gravity)));
  if (tilt < FLAT_WITHIN) return { kind: "flat", tilt };
  const angle = degrees(Math.atan2(x, y));
  return { kind: "upright", roll: angle - 90 * Math.round(angle / 90) };
}

export function isLevel(level: Level): boolean {
  return Math.abs(level.kind === "flat" ? level.tilt : level.roll) <= LEVEL_WITHIN;
}

/** The device's camera: opened, and what of it can be controlled. */

import { AppError } from "../core/errors";

export type Facing = "environment" | "user";

interface Range {
  min: number;
  max: number;
  step: number;
}

// Not in the DOM's types yet.
type Capabilities = MediaTrackCapabilities & {
  torch?: boolean;
  zoom?: Range;
  focusMode?: string[];
  focusDistance?: Range;
};
type Constraint = MediaTrackConstraintSet & {
  torch?: boolean;
  zoom?: number;
  focusMode?: string;
  focusDistance?: number;
};

export interface Controls {
  torch: boolean;
  zoom: Range | null;
  /** Distances for focusing by hand. */
  focus: Range | null;
}

/** @throws AppError: there is no camera, it is refused, or it is in use */
export async function openCamera(facing: Facing): Promise<MediaStream> {
  if (navigator.mediaDevices?.getUserMedia === undefined) throw new AppError("cameraInsecure");
  try {
    return await navigator.mediaDevices.getUserMedia({
      audio: false,
      video: { facingMode: { ideal: facing }, width: { ideal: 1920 }, height: { ideal: 1440 } },
    });
  } catch (error) {
    const name = error instanceof DOMException ? error.name : "";
    if (name === "NotAllowedError" || name === "SecurityError") throw new AppError("cameraRefused");
    if (name === "NotFoundError" || name === "OverconstrainedError") throw new AppError("cameraMissing");
    throw new AppError("cameraBusy");
  }
}

const usable = (range: Range | undefined): Range | null =>
  range !== undefined && range.max > range.min ? { ...range, step: range.step || (range.max - range.min) / 50 } : null;

export function controlsOf(stream: MediaStream): Controls {
  const found = (stream.getVideoTracks()[0].getCapabilities?.() ?? {}) as Capabilities;
  return {
    torch: found.torch === true,
    zoom: usable(found.zoom),
    focus: found.focusMode?.includes("manual") ? usable(found.focusDistance) : null,
  };
}

/** Change a control; false where the device refuses. */
export async function applyControl(stream: MediaStream, constraint: Constraint): Promise<boolean> {
  try {
    await stream.getVideoTracks()[0].applyConstraints({ advanced: [constraint] });
    return true;
  } catch {
    return false;
  }
}

export function closeCamera(stream: MediaStream | null): void {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

/** What the camera screen sees a few times a second: faults of the live picture, and how the phone is held. */

import { type Signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { guideSquare } from "../core/framing";
import type { Crop } from "../core/geometry";
import { type Level, levelOf } from "../core/level";
import { findFault, luma, meanDifference, measureQuality } from "../core/quality";
import type { TextKey } from "../i18n/en";

const LOOK_EVERY = 350; // milliseconds between two looks at the live picture
const LOOK_SIDE = 96; // pixels
const MOVING = 9; // mean grey difference between two looks

/** The guide's square in the video's own pixels. */
export function guideOf(video: HTMLVideoElement): Crop {
  return guideSquare(
    { width: video.videoWidth, height: video.videoHeight },
    { width: video.clientWidth, height: video.clientHeight },
  );
}

/** What is wrong with the live picture inside the guide. */
export function useLiveHint(video: { current: HTMLVideoElement | null }): Signal<TextKey> {
  const hint = useSignal<TextKey>("cameraFrame");
  useEffect(() => {
    const context = new OffscreenCanvas(LOOK_SIDE, LOOK_SIDE).getContext("2d", { willReadFrequently: true });
    let before: Float32Array | null = null;
    const look = (): void => {
      const source = video.current;
      // Hidden while a photograph is looked at.
      if (context === null || source === null || source.readyState < 2 || source.clientWidth === 0) return;
      const { x, y, width, height } = guideOf(source);
      context.drawImage(source, x, y, width, height, 0, 0, LOOK_SIDE, LOOK_SIDE);
      const { data } = context.getImageData(0, 0, LOOK_SIDE, LOOK_SIDE);
      const grey = luma(data, 4);
      const moving = before !== null && meanDifference(grey, before) > MOVING;
      before = grey;
      const fault = findFault(measureQuality(data, LOOK_SIDE, 4), LOOK_SIDE, "hint");
      if (fault === "dark") hint.value = "cameraDark";
      else if (fault === "bright") hint.value = "cameraBright";
      else if (moving) hint.value = "cameraStill";
      else if (fault === "blurred") hint.value = "cameraBlurred";
      else hint.value = "cameraFrame";
    };
    const timer = setInterval(look, LOOK_EVERY);
    return () => clearInterval(timer);
  }, []);
  return hint;
}

type Asking = typeof DeviceMotionEvent & { requestPermission?: () => Promise<string> };

/** How the phone is held; null where it does not say, or is not asked. */
export function useLevel(): Signal<Level | null> {
  const level = useSignal<Level | null>(null);
  useEffect(() => {
    const read = ({ accelerationIncludingGravity: g }: DeviceMotionEvent): void => {
      if (g?.x == null || g.y == null || g.z == null) return;
      level.value = levelOf({ x: g.x, y: g.y, z: g.z });
    };
    // Some phones ask the person first, which they allow right after a touch only; refused, there is no level.
    const ask = (globalThis.DeviceMotionEvent as Asking | undefined)?.requestPermission;
    void Promise.resolve(ask?.()).catch(() => undefined);
    addEventListener("devicemotion", read);
    return () => removeEventListener("devicemotion", read);
  }, []);
  return level;
}

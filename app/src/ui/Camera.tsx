/** The camera, with a guide for framing, live hints and the torch where the device has one. */

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { AppError } from "../core/errors";
import { centreSquare } from "../core/geometry";
import { findFault, luma, measureQuality, meanDifference } from "../core/quality";
import { type Params, t } from "../i18n";
import type { TextKey } from "../i18n/en";
import { tellError } from "../state/notices";
import { addPhotos } from "../state/session";
import { Dialog } from "./Dialog";
import { Icon } from "./icons";

const GUIDE = 0.72; // side of the guide, as a share of the frame's shorter side
const LOOK_EVERY = 350; // milliseconds between two looks at the live picture
const LOOK_SIDE = 96; // pixels
const MOVING = 9; // mean grey difference between two looks

// `torch` is not in the DOM's types yet.
type TorchCapabilities = MediaTrackCapabilities & { torch?: boolean };
type TorchConstraints = MediaTrackConstraintSet & { torch: boolean };

async function openCamera(facing: "environment" | "user"): Promise<MediaStream> {
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

/** The guide's square in the video's own pixels. */
function guideSquare(video: HTMLVideoElement) {
  const frame = { width: video.videoWidth, height: video.videoHeight };
  const { width } = centreSquare(frame);
  const side = Math.round(width * GUIDE);
  return {
    x: Math.floor((frame.width - side) / 2),
    y: Math.floor((frame.height - side) / 2),
    width: side,
    height: side,
  };
}

/** Looks at the guide's square a few times a second and says what is wrong with it. */
function useLiveHint(video: { current: HTMLVideoElement | null }) {
  const hint = useSignal<TextKey>("cameraFrame");
  useEffect(() => {
    const context = new OffscreenCanvas(LOOK_SIDE, LOOK_SIDE).getContext("2d", { willReadFrequently: true });
    let before: Float32Array | null = null;
    const look = (): void => {
      const source = video.current;
      if (context === null || source === null || source.readyState < 2) return;
      const { x, y, width, height } = guideSquare(source);
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

export function Camera({ onClose }: { onClose: () => void }) {
  const video = useRef<HTMLVideoElement>(null);
  const stream = useSignal<MediaStream | null>(null);
  const facing = useSignal<"environment" | "user">("environment");
  const torch = useSignal<"absent" | "off" | "on">("absent");
  const ratio = useSignal(4 / 3);
  const hint = useLiveHint(video);

  useEffect(() => {
    let current = true;
    openCamera(facing.value)
      .then((opened) => {
        if (!current) return opened.getTracks().forEach((track) => track.stop());
        stream.value = opened;
        video.current!.srcObject = opened;
        const capabilities = opened.getVideoTracks()[0].getCapabilities?.() as TorchCapabilities | undefined;
        torch.value = capabilities?.torch ? "off" : "absent";
      })
      .catch((error: unknown) => {
        if (!current) return;
        tellError(error);
        onClose();
      });
    return () => {
      current = false;
      stream.value?.getTracks().forEach((track) => track.stop());
      stream.value = null;
    };
  }, [facing.value]);

  const switchTorch = async (): Promise<void> => {
    const on = torch.value !== "on";
    try {
      const constraint: TorchConstraints = { torch: on };
      await stream.value!.getVideoTracks()[0].applyConstraints({ advanced: [constraint] });
      torch.value = on ? "on" : "off";
    } catch {
      torch.value = "absent";
    }
  };

  const shoot = async (): Promise<void> => {
    const source = video.current!;
    if (source.readyState < 2) return;
    const canvas = new OffscreenCanvas(source.videoWidth, source.videoHeight);
    canvas.getContext("2d")!.drawImage(source, 0, 0);
    const crop = guideSquare(source);
    const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.95 });
    onClose();
    const params: Params = { time: new Date().toLocaleTimeString() };
    await addPhotos([{ blob, name: t("cameraPhoto", params), edit: { turns: 0, crop } }]);
  };

  return (
    <Dialog title={t("camera")} onClose={onClose} class="dialog-camera">
      <div class="camera" style={{ "--ratio": ratio.value }}>
        <video
          ref={video}
          autoPlay
          playsInline
          muted
          aria-label={t("cameraPicture")}
          onResize={({ currentTarget: { videoWidth, videoHeight } }) =>
            (ratio.value = videoWidth / videoHeight || 4 / 3)
          }
          data-testid="video"
        />
        <div class="guide" aria-hidden="true" style={{ [ratio.value > 1 ? "height" : "width"]: `${GUIDE * 100}%` }} />
      </div>
      <p class="camera-hint" role="status" data-testid="camera-hint">
        {t(hint.value)}
      </p>
      <div class="camera-tools">
        <button
          type="button"
          class="icon-button"
          aria-label={t("cameraFlip")}
          onClick={() => (facing.value = facing.value === "environment" ? "user" : "environment")}
        >
          <Icon name="flip" />
        </button>
        <button
          type="button"
          class="shutter"
          aria-label={t("cameraShoot")}
          disabled={stream.value === null}
          onClick={() => void shoot()}
          data-testid="shutter"
        />
        {torch.value === "absent" ? (
          <span class="icon-button-space" />
        ) : (
          <button
            type="button"
            class="icon-button"
            aria-label={t("torch")}
            aria-pressed={torch.value === "on"}
            onClick={() => void switchTorch()}
          >
            <Icon name="torch" />
          </button>
        )}
      </div>
    </Dialog>
  );
}

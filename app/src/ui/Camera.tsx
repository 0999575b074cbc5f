/** The camera over the whole screen: guide, live hints, level, torch, zoom and focus, and a look before use. */

import { type Signal, useSignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { GUIDE } from "../core/framing";
import type { Crop, Edit } from "../core/geometry";
import { isLevel, type Level } from "../core/level";
import { type Fault, findFault, measureQuality } from "../core/quality";
import { t } from "../i18n";
import { applyControl, closeCamera, type Controls, controlsOf, type Facing, openCamera } from "../state/camera";
import { tellError } from "../state/notices";
import { BlobImage } from "./BlobImage";
import { Dialog } from "./Dialog";
import { Icon } from "./icons";
import { guideOf, useLevel, useLiveHint } from "./useLive";
import { HINTS } from "./Verdict";

const NOTHING: Controls = { torch: false, zoom: null, focus: null };
const CHECK_SIDE = 224; // pixels on which a shot is checked

/** A photograph that was taken and not used yet. */
interface Shot {
  blob: Blob;
  crop: Crop;
  fault: Fault | null;
}

/** Judge what is inside the guide of a picture. */
function faultOf(source: CanvasImageSource, { x, y, width, height }: Crop): Fault | null {
  const context = new OffscreenCanvas(CHECK_SIDE, CHECK_SIDE).getContext("2d", { willReadFrequently: true })!;
  context.drawImage(source, x, y, width, height, 0, 0, CHECK_SIDE, CHECK_SIDE);
  return findFault(
    measureQuality(context.getImageData(0, 0, CHECK_SIDE, CHECK_SIDE).data, CHECK_SIDE, 4),
    CHECK_SIDE,
    "hint",
  );
}

async function takeShot(video: HTMLVideoElement): Promise<Shot> {
  const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
  canvas.getContext("2d")!.drawImage(video, 0, 0);
  const crop = guideOf(video);
  return {
    blob: await canvas.convertToBlob({ type: "image/jpeg", quality: 0.95 }),
    crop,
    fault: faultOf(canvas, crop),
  };
}

/** The guide's side follows the stage, as the square that is kept does. */
function useGuide(stage: { current: HTMLDivElement | null }): void {
  useLayoutEffect(() => {
    const element = stage.current!;
    const observer = new ResizeObserver(() => {
      const side = GUIDE * Math.min(element.clientWidth, element.clientHeight);
      element.style.setProperty("--guide", `${side}px`);
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
}

function useGhost(read: Props["ghost"]): Signal<Blob | null> {
  const ghost = useSignal<Blob | null>(null);
  useEffect(() => {
    read().then(
      (found) => (ghost.value = found),
      () => undefined, // without the notebook there is no ghost
    );
  }, []);
  return ghost;
}

function LevelMark({ level }: { level: Level }) {
  const good = isLevel(level);
  const angle = level.kind === "upright" ? level.roll : 0;
  return (
    <div class={`level ${good ? "level-good" : ""}`} data-testid="level" data-level={good}>
      <span class="level-line" style={{ transform: `rotate(${angle}deg)` }} aria-hidden="true" />
      <span>{t(good ? "level" : level.kind === "flat" ? "levelTilt" : "levelTurn")}</span>
    </div>
  );
}

interface SliderProps {
  label: string;
  range: { min: number; max: number; step: number };
  onChange: (value: number) => void;
  testId: string;
}

function Slider({ label, range, onChange, testId }: SliderProps) {
  return (
    <label class="camera-slider">
      <span>{label}</span>
      <input
        type="range"
        {...range}
        defaultValue={String(range.min)}
        onInput={(event) => onChange(Number(event.currentTarget.value))}
        data-testid={testId}
      />
    </label>
  );
}

function Review({ shot, onUse, onAgain }: { shot: Shot; onUse: () => void; onAgain: () => void }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    let current = true;
    const { x, y, width, height } = shot.crop;
    createImageBitmap(shot.blob, x, y, width, height).then(
      (bitmap) => {
        if (current) canvas.current?.getContext("2d")?.drawImage(bitmap, 0, 0);
        bitmap.close();
      },
      (error: unknown) => {
        if (!current) return;
        tellError(error);
        onAgain();
      },
    );
    return () => {
      current = false;
    };
  }, [shot]);
  return (
    <div class="camera-review" data-testid="review">
      <canvas
        ref={canvas}
        width={shot.crop.width}
        height={shot.crop.height}
        role="img"
        aria-label={t("cameraReview")}
      />
      <div class="camera-panel">
        <p class="camera-hint" role="status">
          {t(shot.fault === null ? "cameraReviewText" : HINTS[shot.fault])}
        </p>
        <div class="actions camera-actions">
          <button type="button" class="button" onClick={onAgain} data-testid="again">
            {t("cameraAgain")}
          </button>
          <button type="button" class="button button-primary" onClick={onUse} data-testid="use-shot">
            {t("cameraUse")}
          </button>
        </div>
      </div>
    </div>
  );
}

interface Props {
  /** An earlier photograph, shown as a ghost so that the pose is the same. */
  ghost: () => Promise<Blob | null>;
  /** In a dark room, as under Wood's lamp: that it is dark is no fault. */
  dark?: boolean;
  onShot: (shot: { blob: Blob; name: string; edit: Edit }) => void;
  onClose: () => void;
}

export function Camera({ ghost: read, dark = false, onShot, onClose }: Props) {
  const video = useRef<HTMLVideoElement>(null);
  const stage = useRef<HTMLDivElement>(null);
  const stream = useSignal<MediaStream | null>(null);
  const facing = useSignal<Facing>("environment");
  const controls = useSignal<Controls>(NOTHING);
  const torch = useSignal(false);
  const shot = useSignal<Shot | null>(null);
  const taking = useSignal(false); // a second touch of the shutter takes no second photograph
  const ghostShown = useSignal(true);
  const ghost = useGhost(read);
  const hint = useLiveHint(video);
  const level = useLevel();
  useGuide(stage);

  useEffect(() => {
    let current = true;
    openCamera(facing.value)
      .then((opened) => {
        if (!current) return closeCamera(opened);
        stream.value = opened;
        video.current!.srcObject = opened;
        controls.value = controlsOf(opened);
        torch.value = false;
      })
      .catch((error: unknown) => {
        if (!current) return;
        tellError(error);
        onClose();
      });
    return () => {
      current = false;
      closeCamera(stream.value);
      stream.value = null;
    };
  }, [facing.value]);

  const control = (constraint: Parameters<typeof applyControl>[1]): Promise<boolean> =>
    stream.value === null ? Promise.resolve(false) : applyControl(stream.value, constraint);
  const switchTorch = async (): Promise<void> => {
    const on = !torch.value;
    if (await control({ torch: on })) torch.value = on;
    else controls.value = { ...controls.value, torch: false };
  };
  const shoot = async (): Promise<void> => {
    const source = video.current!;
    taking.value = true;
    try {
      // Touched before the first picture has come: it is taken then.
      if (source.readyState < 2) {
        await new Promise((resolve) => source.addEventListener("loadeddata", resolve, { once: true }));
      }
      if (video.current === source) {
        const taken = await takeShot(source);
        shot.value = dark && taken.fault === "dark" ? { ...taken, fault: null } : taken;
      }
    } catch (error) {
      tellError(error);
    }
    taking.value = false;
  };
  const use = (): void => {
    const { blob, crop } = shot.value!;
    onClose();
    const name = t("cameraPhoto", { time: new Date().toLocaleTimeString() });
    onShot({ blob, name, edit: { turns: 0, crop } });
  };

  const { zoom, focus } = controls.value;
  return (
    <Dialog title={t("camera")} onClose={onClose} class="dialog-camera">
      <div class="camera" hidden={shot.value !== null}>
        <div ref={stage} class="camera-frame">
          <video ref={video} autoPlay playsInline muted aria-label={t("cameraPicture")} data-testid="video" />
          <div class="guide" aria-hidden="true">
            {ghost.value !== null && ghostShown.value && (
              <BlobImage blob={ghost.value} alt="" width={400} height={400} class="ghost" />
            )}
          </div>
        </div>
        <div class="camera-panel">
          <p class="camera-hint" role="status" data-testid="camera-hint">
            {t(dark && hint.value === "cameraDark" ? "cameraFrame" : hint.value)}
          </p>
          {level.value !== null && <LevelMark level={level.value} />}
          {zoom && (
            <Slider
              label={t("cameraZoom")}
              range={zoom}
              onChange={(value) => void control({ zoom: value })}
              testId="zoom"
            />
          )}
          {focus && (
            <Slider
              label={t("cameraFocus")}
              range={focus}
              onChange={(value) => void control({ focusMode: "manual", focusDistance: value })}
              testId="focus"
            />
          )}
          {ghost.value !== null && (
            <label class="question">
              <input
                type="checkbox"
                checked={ghostShown.value}
                onChange={(event) => (ghostShown.value = event.currentTarget.checked)}
                data-testid="ghost"
              />
              <span>{t("cameraGhost")}</span>
            </label>
          )}
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
              disabled={stream.value === null || taking.value}
              onClick={() => void shoot()}
              data-testid="shutter"
            />
            {controls.value.torch ? (
              <button
                type="button"
                class="icon-button"
                aria-label={t("torch")}
                aria-pressed={torch.value}
                onClick={() => void switchTorch()}
              >
                <Icon name="torch" />
              </button>
            ) : (
              <span class="icon-button-space" />
            )}
          </div>
        </div>
      </div>
      {shot.value !== null && <Review shot={shot.value} onUse={use} onAgain={() => (shot.value = null)} />}
    </Dialog>
  );
}

/** Crop and turn a photograph before it is classified. */

import { useSignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { centreSquare, clampCrop, type Crop, type Size, turnCrop, turnedSize } from "../core/geometry";
import { t } from "../i18n";
import { engine } from "../state/engine";
import { tellError } from "../state/notices";
import { editPhoto, type Photo } from "../state/session";
import { Dialog } from "./Dialog";
import { Icon } from "./icons";

const SMALLEST = 16; // pixels a side
const STEP = 0.02; // of the longer side, for each press of an arrow key

interface Preview {
  picture: ImageBitmap;
  /** In the photograph's own pixels, after these turns. */
  size: Size;
  turns: number;
}

const HANDLES = ["move", "nw", "ne", "sw", "se"] as const;
type Handle = (typeof HANDLES)[number];

/** The crop after a handle was dragged by (dx, dy) image pixels. */
function dragged(start: Crop, handle: Handle, dx: number, dy: number, size: Size): Crop {
  if (handle === "move") {
    return {
      ...start,
      x: Math.min(Math.max(start.x + dx, 0), size.width - start.width),
      y: Math.min(Math.max(start.y + dy, 0), size.height - start.height),
    };
  }
  let left = start.x;
  let top = start.y;
  let right = start.x + start.width;
  let bottom = start.y + start.height;
  const least = { width: Math.min(SMALLEST, size.width), height: Math.min(SMALLEST, size.height) };
  if (handle.endsWith("w")) left = Math.min(Math.max(left + dx, 0), right - least.width);
  else right = Math.max(Math.min(right + dx, size.width), left + least.width);
  if (handle.startsWith("n")) top = Math.min(Math.max(top + dy, 0), bottom - least.height);
  else bottom = Math.max(Math.min(bottom + dy, size.height), top + least.height);
  return { x: left, y: top, width: right - left, height: bottom - top };
}

function CropBox({ preview, crop, onCrop }: { preview: Preview; crop: Crop; onCrop: (crop: Crop) => void }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const box = useRef<HTMLDivElement>(null);
  const { picture, size } = preview;
  useLayoutEffect(() => {
    canvas.current!.getContext("2d")!.drawImage(picture, 0, 0);
  }, [picture]);

  const drag = (handle: Handle) => (event: PointerEvent) => {
    event.preventDefault();
    const target = event.currentTarget as HTMLElement;
    target.focus();
    target.setPointerCapture(event.pointerId);
    const scale = size.width / box.current!.clientWidth;
    const move = (to: PointerEvent): void => {
      onCrop(dragged(crop, handle, (to.clientX - event.clientX) * scale, (to.clientY - event.clientY) * scale, size));
    };
    const end = (): void => {
      target.removeEventListener("pointermove", move);
      target.removeEventListener("pointerup", end);
      target.removeEventListener("pointercancel", end);
    };
    target.addEventListener("pointermove", move);
    target.addEventListener("pointerup", end);
    target.addEventListener("pointercancel", end);
  };
  const nudge = (handle: Handle) => (event: KeyboardEvent) => {
    const step = Math.max(1, STEP * Math.max(size.width, size.height));
    const moves: Record<string, [number, number]> = {
      ArrowLeft: [-step, 0],
      ArrowRight: [step, 0],
      ArrowUp: [0, -step],
      ArrowDown: [0, step],
    };
    const by = moves[event.key];
    if (by === undefined) return;
    event.preventDefault();
    onCrop(dragged(crop, handle, by[0], by[1], size));
  };

  const percentOf = (value: number, whole: number): string => `${(100 * value) / whole}%`;
  const labels: Record<Handle, string> = {
    move: t("cropMove"),
    nw: t("cropTopLeft"),
    ne: t("cropTopRight"),
    sw: t("cropBottomLeft"),
    se: t("cropBottomRight"),
  };
  return (
    <div
      ref={box}
      class="crop"
      style={{ aspectRatio: `${size.width} / ${size.height}`, "--ratio": size.width / size.height }}
    >
      <canvas ref={canvas} width={picture.width} height={picture.height} role="img" aria-label={t("cropTurn")} />
      <div
        class="crop-frame"
        style={{
          left: percentOf(crop.x, size.width),
          top: percentOf(crop.y, size.height),
          width: percentOf(crop.width, size.width),
          height: percentOf(crop.height, size.height),
        }}
      >
        {HANDLES.map((handle) => (
          <button
            key={handle}
            type="button"
            class={`crop-handle crop-${handle}`}
            aria-label={labels[handle]}
            onPointerDown={drag(handle)}
            onKeyDown={nudge(handle)}
          />
        ))}
      </div>
    </div>
  );
}

export function Editor({ photo, onClose }: { photo: Photo; onClose: () => void }) {
  const preview = useSignal<Preview | null>(null);
  const turns = useSignal(photo.edit.turns);
  const crop = useSignal<Crop | null>(photo.edit.crop);
  useEffect(() => {
    let current = true;
    const asked = turns.value;
    engine
      .call("preview", { blob: photo.blob, edit: { turns: asked, crop: null } })
      .then((loaded) => {
        if (!current) return loaded.picture.close();
        preview.value?.picture.close();
        preview.value = { ...loaded, turns: asked };
      })
      .catch((error: unknown) => {
        if (!current) return;
        tellError(error, photo.name);
        onClose();
      });
    return () => {
      current = false;
    };
  }, [turns.value]);
  useEffect(() => () => preview.value?.picture.close(), []);

  // The size is known at once; the turned picture comes a moment later.
  const shown = preview.value;
  const size = shown && turnedSize((turns.value - shown.turns + 4) % 4, shown.size);
  const turn = (): void => {
    if (crop.value !== null && size !== null) crop.value = turnCrop(crop.value, size);
    turns.value = (turns.value + 1) % 4;
  };
  const apply = (): void => {
    if (size === null) return;
    const chosen = clampCrop(crop.value, size);
    const isWhole = chosen.width === size.width && chosen.height === size.height;
    void editPhoto(photo.id, { turns: turns.value, crop: isWhole ? null : chosen });
    onClose();
  };
  return (
    <Dialog title={t("cropTurn")} onClose={onClose} class="dialog-wide">
      <div class="crop-stage">
        {shown?.turns === turns.value ? (
          <CropBox preview={shown} crop={clampCrop(crop.value, shown.size)} onCrop={(next) => (crop.value = next)} />
        ) : (
          <span class="spinner" />
        )}
      </div>
      <p class="small">{t("cropHelp")}</p>
      <div class="actions">
        <button type="button" class="button" disabled={!size} onClick={turn} data-testid="turn">
          <Icon name="turn" />
          {t("turn")}
        </button>
        <button
          type="button"
          class="button"
          disabled={!size}
          onClick={() => size && (crop.value = centreSquare(size))}
          data-testid="square"
        >
          {t("cropSquare")}
        </button>
        <button type="button" class="button" disabled={!size} onClick={() => (crop.value = null)}>
          {t("cropWhole")}
        </button>
        <button type="button" class="button button-primary" disabled={!size} onClick={apply} data-testid="apply-crop">
          {t("apply")}
        </button>
      </div>
    </Dialog>
  );
}

/** A photograph over the whole screen, enlarged with pinch, wheel, double tap, buttons or keys. */

import { useSignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { fit, FITTED, largestScale, moved, type View, zoomed } from "../core/zoom";
import { t } from "../i18n";
import { Dialog } from "./Dialog";
import { Icon } from "./icons";

const STEP = 1.4; // of a button or a key
const PAN = 48; // CSS pixels of an arrow key
const ARROWS: Record<string, [number, number]> = {
  ArrowLeft: [PAN, 0],
  ArrowRight: [-PAN, 0],
  ArrowUp: [0, PAN],
  ArrowDown: [0, -PAN],
};

interface Props {
  /** Gives the picture; it is closed with the dialog. */
  load: () => Promise<ImageBitmap>;
  label: string;
  onClose: () => void;
  onError: (error: unknown) => void;
}

export function Zoom({ load, label, onClose, onError }: Props) {
  const stage = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const picture = useSignal<ImageBitmap | null>(null);
  const view = useSignal<View>(FITTED);
  const fingers = useRef(new Map<number, { x: number; y: number }>());

  useEffect(() => {
    let current = true;
    load().then(
      (loaded) => {
        if (current) picture.value = loaded;
        else loaded.close();
      },
      (error: unknown) => {
        if (!current) return;
        onError(error);
        onClose();
      },
    );
    return () => {
      current = false;
      picture.value?.close();
    };
  }, []);
  useLayoutEffect(() => {
    if (picture.value !== null) canvas.current!.getContext("2d")!.drawImage(picture.value, 0, 0);
  }, [picture.value]);

  const room = () => ({ width: stage.current!.clientWidth, height: stage.current!.clientHeight });
  const fitted = () => fit(picture.value ?? { width: 1, height: 1 }, room());
  const show = (next: View): void => void (view.value = moved(next, 0, 0, fitted(), room()));
  const zoom = (factor: number, point = { x: 0, y: 0 }): void => {
    if (picture.value !== null) show(zoomed(view.value, factor, point, largestScale(picture.value, fitted())));
  };
  const pan = (dx: number, dy: number): void => void (view.value = moved(view.value, dx, dy, fitted(), room()));
  const fromCentre = (event: { clientX: number; clientY: number }) => {
    const { left, top, width, height } = stage.current!.getBoundingClientRect();
    return { x: event.clientX - left - width / 2, y: event.clientY - top - height / 2 };
  };

  const wheel = (event: WheelEvent): void => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * (event.deltaMode === 1 ? 0.05 : 0.002)), fromCentre(event));
  };
  const down = (event: PointerEvent): void => {
    stage.current!.setPointerCapture(event.pointerId);
    fingers.current.set(event.pointerId, fromCentre(event));
  };
  const move = (event: PointerEvent): void => {
    const before = fingers.current.get(event.pointerId);
    if (before === undefined) return;
    const now = fromCentre(event);
    const other = [...fingers.current].find(([id]) => id !== event.pointerId)?.[1];
    fingers.current.set(event.pointerId, now);
    if (other === undefined) return pan(now.x - before.x, now.y - before.y);
    const spread = (point: { x: number; y: number }): number => Math.hypot(point.x - other.x, point.y - other.y);
    zoom(spread(now) / Math.max(spread(before), 1), { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 });
  };
  const up = (event: PointerEvent): void => void fingers.current.delete(event.pointerId);
  const key = (event: KeyboardEvent): void => {
    const arrow = ARROWS[event.key];
    if (event.key === "+" || event.key === "=") zoom(STEP);
    else if (event.key === "-") zoom(1 / STEP);
    else if (event.key === "0") view.value = FITTED;
    else if (arrow !== undefined) pan(...arrow);
    else return;
    event.preventDefault();
  };

  const { scale, x, y } = view.value;
  return (
    <Dialog title={label} onClose={onClose} class="dialog-zoom">
      <div
        ref={stage}
        class="zoom-stage"
        tabIndex={0}
        role="group"
        aria-label={t("zoomHelp")}
        onWheel={wheel}
        onPointerDown={down}
        onPointerMove={move}
        onPointerUp={up}
        onPointerCancel={up}
        onDblClick={(event) => (scale > 1 ? (view.value = FITTED) : zoom(2 * STEP, fromCentre(event)))}
        onKeyDown={key}
        data-testid="zoom-stage"
        data-scale={scale.toFixed(3)}
      >
        {picture.value === null ? (
          <span class="spinner" role="status" />
        ) : (
          <canvas
            ref={canvas}
            width={picture.value.width}
            height={picture.value.height}
            role="img"
            aria-label={label}
            style={{ transform: `translate(${x}px, ${y}px) scale(${scale})` }}
          />
        )}
      </div>
      <div class="zoom-tools">
        <button type="button" class="icon-button" aria-label={t("zoomOut")} onClick={() => zoom(1 / STEP)}>
          <Icon name="minus" />
        </button>
        <output>{Math.round(scale * 100)} %</output>
        <button
          type="button"
          class="icon-button"
          aria-label={t("zoomIn")}
          onClick={() => zoom(STEP)}
          data-testid="zoom-in"
        >
          <Icon name="plus" />
        </button>
      </div>
    </Dialog>
  );
}

/** A photograph with the heat map of a class over it. */

import { useLayoutEffect, useRef } from "preact/hooks";
import { classMap, colourise, enlarge } from "../core/heatmap";
import type { Size } from "../core/geometry";
import { t } from "../i18n";
import { Icon } from "./icons";

interface Props {
  /** Drawn when it changes. */
  picture: ImageBitmap;
  size: Size;
  cam: { shape: readonly [number, number, number]; values: ArrayLike<number> } | null;
  /** Which class's map. */
  classIndex: number;
  /** 0 to 1. */
  opacity: number;
  label: string;
  /** Opens the photograph at full size. */
  onOpen?: () => void;
}

const HEAT_SIDE = 224;

/** Draw a class's heat map into a canvas; the browser stretches it over the photograph. */
function drawHeat(canvas: HTMLCanvasElement, cam: NonNullable<Props["cam"]>, classIndex: number): void {
  const map = enlarge(classMap({ shape: cam.shape, values: Float32Array.from(cam.values) }, classIndex), HEAT_SIDE);
  canvas.width = canvas.height = HEAT_SIDE;
  canvas.getContext("2d")!.putImageData(new ImageData(colourise(map), HEAT_SIDE, HEAT_SIDE), 0, 0);
}

export function Viewer({ picture, size, cam, classIndex, opacity, label, onOpen }: Props) {
  const photo = useRef<HTMLCanvasElement>(null);
  const heat = useRef<HTMLCanvasElement>(null);
  useLayoutEffect(() => {
    const canvas = photo.current!;
    canvas.width = picture.width;
    canvas.height = picture.height;
    canvas.getContext("2d")!.drawImage(picture, 0, 0);
  }, [picture]);
  useLayoutEffect(() => {
    if (cam !== null) drawHeat(heat.current!, cam, classIndex);
  }, [cam, classIndex]);
  return (
    <div class="viewer" style={{ aspectRatio: `${size.width} / ${size.height}`, "--ratio": size.width / size.height }}>
      <canvas ref={photo} role="img" aria-label={label} data-testid="photo" />
      {cam !== null && <canvas ref={heat} class="heat" style={{ opacity }} aria-hidden="true" data-testid="heat" />}
      {onOpen && (
        <button
          type="button"
          class="viewer-open no-print"
          aria-label={t("zoomOpen")}
          onClick={onOpen}
          data-testid="open"
        >
          <Icon name="expand" />
        </button>
      )}
    </div>
  );
}

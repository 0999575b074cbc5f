/** Outlines on a photograph: proposed by the app, corrected by finger, with a scale. */

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { t } from "../../i18n";
import type { TextKey } from "../../i18n/en";
import { fractionOfRegion } from "../../hypo/fraction";
import { signedArea, simplify } from "../../measure/contour";
import type { Point } from "../../measure/raster";
import { COINS, coinScale, fieldScale, rulerScale, type Scale } from "../../measure/scale";
import { type Doubt, segment, type Target } from "../../measure/segment";
import type { Measure } from "../../patients/types";
import { tellError } from "../../state/notices";
import { Dialog } from "../Dialog";
import { MeasureFigures } from "./MeasureFigures";
import { number } from "./numbers";
import { photoPixels } from "./photos";

const TARGETS = ["dark", "pale", "wood"] as const;
const TARGET_NAMES: Record<Target, TextKey> = { dark: "targetDark", pale: "targetPale", wood: "targetWood" };
const DOUBTS: Record<Doubt, TextKey> = {
  nothing: "doubtNothing",
  faint: "doubtFaint",
  small: "doubtSmall",
  several: "doubtSeveral",
  border: "doubtBorder",
  large: "doubtLarge",
};
const REACH = 0.06; // of the longer side: how far around the finger an outline follows
const STEP = 0.004; // of the longer side: one press of "larger" or "smaller"

type Tool = "push" | "draw" | "remove" | "region" | "ruler" | "coin";

interface Props {
  image: Blob;
  width: number;
  height: number;
  measure: Measure;
  /** The region's outline; undefined where none is asked for. */
  region?: Point[] | null;
  onSave: (measure: Measure, region: Point[] | null) => void;
  onClose: () => void;
}

/** The outline follows the finger, most where it is nearest. */
function pushed(shape: readonly Point[], from: Point, dx: number, dy: number, reach: number): Point[] {
  return shape.map((point) => {
    const near = Math.max(0, 1 - Math.hypot(point.x - from.x, point.y - from.y) ** 2 / reach ** 2) ** 2;
    return { x: point.x + near * dx, y: point.y + near * dy };
  });
}

/** Points along an outline no further apart than `most`, so that pushing bends it. */
function dense(shape: readonly Point[], most: number): Point[] {
  return shape.flatMap((a, i) => {
    const b = shape[(i + 1) % shape.length];
    const parts = Math.max(1, Math.ceil(Math.hypot(b.x - a.x, b.y - a.y) / most));
    return Array.from({ length: parts }, (_, k) => ({
      x: a.x + ((b.x - a.x) * k) / parts,
      y: a.y + ((b.y - a.y) * k) / parts,
    }));
  });
}

/** Every point moved outward (or inward) from the outline by `by` pixels. */
function grown(shape: readonly Point[], by: number): Point[] {
  return shape.map((point, i) => {
    const before = shape[(i + shape.length - 1) % shape.length];
    const after = shape[(i + 1) % shape.length];
    const [dx, dy] = [after.x - before.x, after.y - before.y];
    const length = Math.hypot(dx, dy) || 1;
    const side = signedArea(shape) > 0 ? 1 : -1;
    return { x: point.x + (side * by * dy) / length, y: point.y - (side * by * dx) / length };
  });
}

const pathOf = (shape: readonly Point[]): string =>
  `M${shape.map(({ x, y }) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L")}Z`;

function insideOf(shape: readonly Point[], { x, y }: Point): boolean {
  let inside = false;
  shape.forEach((a, i) => {
    const b = shape[(i + 1) % shape.length];
    if (a.y <= y !== b.y <= y && x < a.x + ((y - a.y) / (b.y - a.y)) * (b.x - a.x)) inside = !inside;
  });
  return inside;
}

export function OutlineEditor({ image, width, height, measure, region, onSave, onClose }: Props) {
  const longer = Math.max(width, height);
  const target = useSignal<Target>(measure.target);
  const shapes = useSignal<Point[][]>(measure.shapes);
  const proposed = useSignal(measure.proposed);
  const place = useSignal<Point[] | null>(region ?? null);
  const scale = useSignal<Scale | null>(measure.scale);
  const tool = useSignal<Tool>("push");
  const line = useSignal<Point[]>([]);
  const marks = useSignal<Point[]>([]);
  const length = useSignal("10");
  const coin = useSignal<string>(COINS[0].id);
  const field = useSignal("20");
  const doubts = useSignal<Doubt[]>([]);
  const working = useSignal(measure.shapes.length === 0); // an outline is proposed at once
  const history = useSignal<{ shapes: Point[][]; place: Point[] | null; proposed: boolean }[]>([]);
  const svg = useRef<SVGSVGElement>(null);
  const url = useSignal("");
  useEffect(() => {
    url.value = URL.createObjectURL(image);
    return () => URL.revokeObjectURL(url.value);
  }, [image]);
  useEffect(() => {
    if (measure.shapes.length === 0) void propose();
  }, []);

  const remember = (): void => {
    history.value = [
      ...history.value.slice(-30),
      { shapes: shapes.value, place: place.value, proposed: proposed.value },
    ];
  };
  const undo = (): void => {
    const before = history.value.at(-1);
    if (before === undefined) return;
    [shapes.value, place.value, proposed.value] = [before.shapes, before.place, before.proposed];
    history.value = history.value.slice(0, -1);
  };
  const propose = async (): Promise<void> => {
    working.value = true;
    try {
      const pixels = await photoPixels(image);
      const found = segment(pixels, target.value, place.value ?? undefined);
      remember();
      shapes.value = found.shapes;
      doubts.value = found.doubts;
      proposed.value = true;
    } catch (error) {
      tellError(error);
    }
    working.value = false;
  };
  const correct = (next: Point[][]): void => {
    shapes.value = next;
    proposed.value = false;
  };

  const at = (event: PointerEvent): Point => {
    const box = svg.current!.getBoundingClientRect();
    return {
      x: Math.min(width, Math.max(0, ((event.clientX - box.left) / box.width) * width)),
      y: Math.min(height, Math.max(0, ((event.clientY - box.top) / box.height) * height)),
    };
  };
  const down = (event: PointerEvent): void => {
    event.preventDefault();
    const from = at(event);
    if (tool.value === "ruler" || tool.value === "coin") return mark(from);
    if (tool.value === "remove") {
      const rest = shapes.value.filter((shape) => !insideOf(shape, from));
      if (rest.length === shapes.value.length) return;
      remember();
      return correct(rest);
    }
    remember();
    svg.current!.setPointerCapture(event.pointerId);
    if (tool.value === "push") {
      shapes.value = shapes.value.map((shape) => dense(shape, longer / 150));
      line.value = [from];
    } else line.value = [from];
  };
  const move = (event: PointerEvent): void => {
    if (line.value.length === 0) return;
    const to = at(event);
    if (tool.value !== "push") {
      line.value = [...line.value, to];
      return;
    }
    const [from] = line.value;
    correct(shapes.value.map((shape) => pushed(shape, from, to.x - from.x, to.y - from.y, REACH * longer)));
    line.value = [to];
  };
  const up = (): void => {
    const drawn = line.value;
    line.value = [];
    if (tool.value === "push" || drawn.length < 3) return;
    const closed = simplify(drawn, longer / 1000);
    if (closed.length < 3 || Math.abs(signedArea(closed)) < (longer / 100) ** 2) return;
    if (tool.value === "region") place.value = closed;
    else correct([...shapes.value, closed].sort((a, b) => Math.abs(signedArea(b)) - Math.abs(signedArea(a))));
  };
  const mark = (point: Point): void => {
    const most = tool.value === "ruler" ? 2 : 8;
    marks.value = marks.value.length >= most ? [point] : [...marks.value, point];
    applyMarks();
  };
  const applyMarks = (): void => {
    if (tool.value === "ruler" && marks.value.length === 2) {
      scale.value = rulerScale(marks.value[0], marks.value[1], Number(length.value), longer);
    } else if (tool.value === "coin" && marks.value.length >= 3) {
      const chosen = COINS.find(({ id }) => id === coin.value) ?? COINS[0];
      scale.value = coinScale(marks.value, chosen.diameter, longer);
    }
  };
  const resize = (sign: 1 | -1): void => {
    remember();
    correct(shapes.value.map((shape) => grown(shape, sign * STEP * longer)));
  };
  const choose = (chosen: Tool): void => {
    tool.value = chosen;
    marks.value = [];
  };
  const current: Measure = { target: target.value, shapes: shapes.value, proposed: proposed.value, scale: scale.value };
  const fraction = fractionOfRegion(place.value, shapes.value);
  const tools: [Tool, TextKey][] = [
    ["push", "toolPush"],
    ["draw", "toolDraw"],
    ["remove", "toolRemove"],
    ...(region === undefined ? [] : ([["region", "toolRegion"]] as [Tool, TextKey][])),
    ["ruler", "toolRuler"],
    ["coin", "toolCoin"],
  ];
  return (
    <Dialog title={t("outline")} onClose={onClose} class="dialog-wide">
      <div class="outline">
        <div class="outline-stage" style={{ aspectRatio: `${width} / ${height}`, "--ratio": width / height }}>
          {url.value && <img src={url.value} alt="" width={width} height={height} draggable={false} />}
          <svg
            ref={svg}
            viewBox={`0 0 ${width} ${height}`}
            role="img"
            aria-label={t("outline")}
            class={`outline-drawing tool-${tool.value}`}
            onPointerDown={down}
            onPointerMove={move}
            onPointerUp={up}
            onPointerCancel={up}
            data-testid="outline-stage"
            data-shapes={shapes.value.length}
            data-proposed={proposed.value}
          >
            {place.value && <path d={pathOf(place.value)} class="outline-region" />}
            {shapes.value.map((shape, i) => (
              <g key={i}>
                <path d={pathOf(shape)} class="outline-halo" />
                <path d={pathOf(shape)} class="outline-line" />
              </g>
            ))}
            {line.value.length > 1 && <path d={pathOf(line.value)} class="outline-new" />}
            {marks.value.map(({ x, y }, i) => (
              <circle key={i} cx={x} cy={y} r={longer / 110} class="outline-mark" />
            ))}
          </svg>
          {working.value && <span class="spinner outline-working" role="status" />}
        </div>
        <div class="outline-side">
          <div class="outline-row">
            <label class="field">
              <span>{t("target")}</span>
              <select
                value={target.value}
                onChange={(event) => (target.value = event.currentTarget.value as Target)}
                data-testid="target"
              >
                {TARGETS.map((one) => (
                  <option key={one} value={one}>
                    {t(TARGET_NAMES[one])}
                  </option>
                ))}
              </select>
            </label>
            <button
              type="button"
              class="button"
              disabled={working.value}
              onClick={() => void propose()}
              data-testid="propose"
            >
              {t("propose")}
            </button>
          </div>
          {doubts.value.map((doubt) => (
            <p key={doubt} class="problem" data-testid="doubt">
              {t(DOUBTS[doubt])}
            </p>
          ))}
          <div class="outline-tools" role="group" aria-label={t("tools")}>
            {tools.map(([name, label]) => (
              <button
                key={name}
                type="button"
                class="button"
                aria-pressed={tool.value === name}
                onClick={() => choose(name)}
                data-testid={`tool-${name}`}
              >
                {t(label)}
              </button>
            ))}
            <button
              type="button"
              class="button"
              disabled={shapes.value.length === 0}
              onClick={() => resize(1)}
              data-testid="larger"
            >
              {t("toolLarger")}
            </button>
            <button type="button" class="button" disabled={shapes.value.length === 0} onClick={() => resize(-1)}>
              {t("toolSmaller")}
            </button>
            <button
              type="button"
              class="button"
              disabled={history.value.length === 0}
              onClick={undo}
              data-testid="undo-outline"
            >
              {t("undoStep")}
            </button>
          </div>
          {tool.value === "ruler" && (
            <label class="field">
              <span>{t("rulerHelp")}</span>
              <input
                type="number"
                min="0.1"
                step="any"
                value={length.value}
                onInput={(event) => {
                  length.value = event.currentTarget.value;
                  applyMarks();
                }}
                data-testid="ruler-mm"
              />
            </label>
          )}
          {tool.value === "coin" && (
            <label class="field">
              <span>{t("coinHelp")}</span>
              <select
                value={coin.value}
                onChange={(event) => {
                  coin.value = event.currentTarget.value;
                  applyMarks();
                }}
              >
                {COINS.map((one) => (
                  <option key={one.id} value={one.id}>
                    {`${one.name}, ${one.diameter} mm`}
                  </option>
                ))}
              </select>
            </label>
          )}
          <div class="outline-row">
            <label class="field">
              <span>{t("fieldHelp")}</span>
              <input
                type="number"
                min="0.1"
                step="any"
                value={field.value}
                onInput={(event) => (field.value = event.currentTarget.value)}
                data-testid="field-mm"
              />
            </label>
            <button
              type="button"
              class="button"
              onClick={() => (scale.value = fieldScale(Number(field.value), width))}
              data-testid="use-field"
            >
              {t("apply")}
            </button>
          </div>
          <MeasureFigures measure={current} longerSide={longer} />
          {fraction !== null && (
            <p data-testid="fraction">{t("fractionOfRegion", { fraction: number(100 * fraction, 1) })}</p>
          )}
          <div class="actions">
            <button type="button" class="button" onClick={onClose}>
              {t("cancel")}
            </button>
            <button
              type="button"
              class="button button-primary"
              disabled={working.value}
              onClick={() => onSave(current, place.value)}
              data-testid="save-outline"
            >
              {t("save")}
            </button>
          </div>
        </div>
      </div>
    </Dialog>
  );
}

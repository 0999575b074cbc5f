/** Two dates of a lesion laid over each other: swiped, blinked, or their difference. */

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { dayText, t } from "../../i18n";
import type { TextKey } from "../../i18n/en";
import type { Pixels, Point } from "../../measure/raster";
import { segment } from "../../measure/segment";
import type { Visit, VisitPhoto } from "../../notebook/types";
import { registerInSteps, type Registration, type View } from "../../register/register";
import { tellError } from "../../state/notices";
import { number } from "./numbers";
import { photoPixels } from "./photos";

const VIEWS = ["swipe", "blink", "difference"] as const;
type Manner = (typeof VIEWS)[number];
const NAMES: Record<Manner, TextKey> = { swipe: "viewSwipe", blink: "viewBlink", difference: "viewDifference" };
const BLINK_MS = 700;
const SLICE_MS = 30;

interface Loaded {
  fixed: Pixels;
  moving: Pixels;
  /** Null where the two cannot be laid over: then they are not. */
  found: Registration | null;
  /** The skin around the lesion shows too little: the lesion itself has been laid over, and its growth with it. */
  byLesion: boolean;
}

/** Outlines that were measured, or else proposed: what may have grown is not looked at. */
function lesionIn({ measure }: VisitPhoto, pixels: Pixels): Point[][] {
  return measure?.shapes ?? segment(pixels, "dark").shapes;
}

function* layOver(fixed: View, moving: View): Generator<void, Pick<Loaded, "found" | "byLesion">> {
  const bySkin = yield* registerInSteps(fixed, moving);
  if (bySkin !== null) return { found: bySkin, byLesion: false };
  const [a, b] = [fixed, moving].map(({ width, height, data }) => ({ width, height, data }));
  return { found: yield* registerInSteps(a, b), byLesion: true };
}

function toCanvas({ width, height, data }: Pixels): OffscreenCanvas {
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d")!.putImageData(new ImageData(new Uint8ClampedArray(data), width, height), 0, 0);
  return canvas;
}

/** The second picture as it lies over the first; transparent where it has nothing. */
function laidOver({ fixed, moving }: Loaded, { transform }: Registration): OffscreenCanvas {
  const canvas = new OffscreenCanvas(fixed.width, fixed.height);
  const context = canvas.getContext("2d")!;
  context.setTransform(...transform);
  context.drawImage(toCanvas(moving), 0, 0);
  return canvas;
}

export function LayOver({ first, second }: { first: Visit; second: Visit }) {
  const loaded = useSignal<Loaded | null>(null);
  const view = useSignal<Manner>("swipe");
  const divider = useSignal(50);
  const blinking = useSignal(false);
  const top = useRef<HTMLCanvasElement>(null);
  const bottom = useRef<HTMLCanvasElement>(null);
  const pairKey = [first, second].map(({ id, photos }) => `${id} ${photos[0]?.id ?? ""}`).join();
  useEffect(() => {
    let current = true;
    loaded.value = null;
    const [a, b] = [first.photos[0], second.photos[0]];
    if (a === undefined || b === undefined) return;
    const run = async (): Promise<void> => {
      const [fixed, moving] = await Promise.all([photoPixels(a.image), photoPixels(b.image)]);
      const steps = layOver({ ...fixed, hidden: lesionIn(a, fixed) }, { ...moving, hidden: lesionIn(b, moving) });
      // For a few hundredths of a second at a time, so that the page can be used meanwhile.
      for (let end = performance.now() + SLICE_MS; current;) {
        const step = steps.next();
        if (step.done) return void (loaded.value = { fixed, moving, ...step.value });
        if (performance.now() < end) continue;
        await new Promise((resolve) => setTimeout(resolve));
        end = performance.now() + SLICE_MS;
      }
    };
    run().catch((error: unknown) => current && tellError(error));
    return () => {
      current = false;
    };
  }, [pairKey]);
  useEffect(() => {
    if (!loaded.value?.found) return;
    const { fixed, found } = loaded.value;
    for (const canvas of [top.current!, bottom.current!]) {
      canvas.width = fixed.width;
      canvas.height = fixed.height;
    }
    bottom.current!.getContext("2d")!.drawImage(toCanvas(fixed), 0, 0);
    top.current!.getContext("2d")!.drawImage(laidOver(loaded.value, found), 0, 0);
  }, [loaded.value]);
  useEffect(() => {
    if (view.value !== "blink" || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    const timer = setInterval(() => (blinking.value = !blinking.value), BLINK_MS);
    return () => clearInterval(timer);
  }, [view.value]);
  if (first.photos.length === 0 || second.photos.length === 0) return null;
  const found = loaded.value?.found ?? null;
  if (loaded.value !== null && found === null)
    return (
      <section class="lay-over" data-testid="lay-over" data-found="false">
        <p class="problem">{t("notLaidOver")}</p>
      </section>
    );
  const hidden = view.value === "blink" && blinking.value;
  const swipe = (event: PointerEvent): void => {
    if (view.value !== "swipe" || event.buttons === 0) return;
    const { left, width } = (event.currentTarget as HTMLElement).getBoundingClientRect();
    divider.value = Math.round(100 * Math.min(1, Math.max(0, (event.clientX - left) / width)));
  };
  return (
    <section class="lay-over" data-testid="lay-over" data-found={found === null ? "" : "true"}>
      <div class="actions actions-start no-print" role="group" aria-label={t("layOver")}>
        {VIEWS.map((one) => (
          <button
            key={one}
            type="button"
            class="button"
            aria-pressed={view.value === one}
            onClick={() => {
              view.value = one;
              blinking.value = false;
            }}
            data-testid={`view-${one}`}
          >
            {t(NAMES[one])}
          </button>
        ))}
      </div>
      <div
        class={view.value === "swipe" ? "lay-stage lay-swipe" : "lay-stage"}
        onPointerDown={swipe}
        onPointerMove={swipe}
        style={{ aspectRatio: `${first.photos[0].width} / ${first.photos[0].height}` }}
      >
        {loaded.value === null && (
          <p class="lay-waiting" role="status">
            <span class="spinner" />
            {t("layingOver")}
          </p>
        )}
        <canvas ref={bottom} role="img" aria-label={dayText(first.date)} />
        <canvas
          ref={top}
          role="img"
          aria-label={dayText(second.date)}
          class={view.value === "difference" ? "lay-difference" : ""}
          style={{
            visibility: hidden ? "hidden" : "visible",
            clipPath: view.value === "swipe" ? `inset(0 0 0 ${divider.value}%)` : "none",
          }}
          data-testid="lay-top"
        />
      </div>
      {view.value === "swipe" && (
        <label class="heat-slider no-print">
          <span>{t("swipeHelp", { first: dayText(first.date), second: dayText(second.date) })}</span>
          <input
            type="range"
            min="0"
            max="100"
            value={divider.value}
            onInput={(event) => (divider.value = Number(event.currentTarget.value))}
            data-testid="swipe"
          />
        </label>
      )}
      {view.value === "blink" && (
        <button type="button" class="button no-print" onClick={() => (blinking.value = !blinking.value)}>
          {t("blinkShown", { date: dayText(blinking.value ? first.date : second.date) })}
        </button>
      )}
      {view.value === "difference" && <p class="small">{t("differenceHelp")}</p>}
      {found !== null && (
        <p class="small" data-testid="laid">
          {t("laidOver", { turn: number(found.turn, 0), zoom: number(found.zoom), quality: number(found.quality) })}{" "}
          {loaded.value?.byLesion && t("laidByLesion")}
        </p>
      )}
    </section>
  );
}

/** How the photographs are taken: asked once, remembered, and changed at any time. */

import { useEffect, useState } from "preact/hooks";
import { type Capture, CAPTURES } from "../core/verdict";
import { t } from "../i18n";
import { capture, captureUnknown, chooseCapture, model } from "../state/models";
import { seemsTakenSelected } from "../state/session";
import { Dialog } from "./Dialog";

export const CAPTURE_NAMES = { dermatoscope: "takenDermatoscope", camera: "takenCamera" } as const;
const CAPTURE_TEXTS = { dermatoscope: "takenDermatoscopeText", camera: "takenCameraText" } as const;

/** Asked before the first photograph is classified. The kind that the model's graph recognises is marked. */
export function CaptureQuestion() {
  const [seems, setSeems] = useState<Capture>();
  const ready = model.value.kind === "ready";
  useEffect(() => {
    if (!ready) return;
    // A photograph that cannot be read is told about once it is to be classified.
    seemsTakenSelected().then(setSeems, () => undefined);
  }, [ready]);
  return (
    <Dialog title={t("takenQuestion")} class="dialog-narrow">
      <p>{t("takenWhy")}</p>
      <div class="choices">
        {CAPTURES.map((taken) => (
          <button
            key={taken}
            type="button"
            class="choice"
            onClick={() => void chooseCapture(taken)}
            data-testid={`taken-${taken}`}
          >
            <strong>{t(CAPTURE_NAMES[taken])}</strong>
            <span class="small">{t(CAPTURE_TEXTS[taken])}</span>
            {seems === taken && (
              <span class="small choice-looks" data-testid="taken-looks">
                {t("takenLooks")}
              </span>
            )}
          </button>
        ))}
      </div>
    </Dialog>
  );
}

/** The answer, to be seen and changed; nothing where only drawn images are classified. */
export function CaptureSwitch() {
  if (capture.value === null && !captureUnknown.value) return null;
  const choose = (taken: Capture) => (): void => void chooseCapture(taken);
  return (
    <fieldset class="segments" data-testid="taken">
      <legend>{t("taken")}</legend>
      {CAPTURES.map((taken) => (
        <label key={taken}>
          <input type="radio" name="taken" checked={capture.value === taken} onChange={choose(taken)} />
          <span>{t(CAPTURE_NAMES[taken])}</span>
        </label>
      ))}
    </fieldset>
  );
}

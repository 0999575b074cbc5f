/** How the photographs are taken: asked once, remembered, and changed at any time. */

import { type Capture, CAPTURES } from "../core/verdict";
import { t } from "../i18n";
import { capture, captureUnknown, chooseCapture } from "../state/models";
import { Dialog } from "./Dialog";

export const CAPTURE_NAMES = { dermatoscope: "takenDermatoscope", camera: "takenCamera" } as const;
const CAPTURE_TEXTS = { dermatoscope: "takenDermatoscopeText", camera: "takenCameraText" } as const;

/** Asked before the first photograph is classified. */
export function CaptureQuestion() {
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

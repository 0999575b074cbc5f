/** The first page: photographs of one lesion in, an answer out. */

import { signal, useSignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { argmax } from "../core/probabilities";
import { usedBy } from "../core/metadata";
import type { ClassSpec, Spec } from "../core/spec";
import { isAnswer, seemsTaken } from "../core/verdict";
import { className, errorText, percent, t } from "../i18n";
import { capture, captureUnknown, chooseCapture, model, retryModel } from "../state/models";
import { engine } from "../state/engine";
import { tellError } from "../state/notices";
import { chosenValues, operatingPoint } from "../state/operating";
import {
  addPhotos,
  type Answer,
  answer,
  busy,
  followUp,
  known,
  type Photo,
  photos,
  removePhoto,
  selected,
  selectedId,
  smallAnswer,
  startOver,
} from "../state/session";
import { CAPTURE_NAMES, CaptureQuestion, CaptureSwitch } from "./Capture";
import { Icon } from "./icons";
import { later } from "./later";
import { Lens } from "./Lens";
import { CameraButton, cameraOpen, ChooseButton, DropArea } from "./Intake";
import { ModelBadge } from "./ModelBadge";
import { Results } from "./Results";
import { Thumbnail } from "./Thumbnail";
import { type Facts, VerdictBanner, verdictInWords, VerdictLine } from "./Verdict";
import { Viewer } from "./Viewer";

const Camera = later(async () => (await import("./Camera")).Camera);
const Editor = later(async () => (await import("./Editor")).Editor);
const SaveDialog = later(async () => (await import("./SaveDialog")).SaveDialog);
const Zoom = later(async () => (await import("./Zoom")).Zoom);

/** How strongly the heat map covers the photograph; not at all until it is asked for. */
const heat = signal(0);

/** How strongly it does so when it is asked for. */
const HEAT = 0.6;

/** Longer side at which a photograph is opened, pixels; phones cannot draw much larger ones. */
const FULL_SIDE = 4096;

/** The last photograph of the lesion that is followed. */
async function lastOfFollowed(): Promise<Blob | null> {
  if (followUp.value === null) return null;
  return (await import("../notebook/cases")).lastPhotograph(followUp.value);
}

function Welcome() {
  return (
    <DropArea class="start">
      <div class="welcome">
        <div class="welcome-words">
          <h1>{t("checkTitle")}</h1>
          <p class="lead">{t("checkLead")}</p>
          <div class="actions actions-start">
            <ChooseButton primary label={t("choose")} />
            <CameraButton label={t("useCamera")} />
          </div>
          <p class="small welcome-drop">{t("dropHere")}</p>
          <CaptureSwitch />
          <ModelBadge />
        </div>
        <Lens />
      </div>
      <ul class="points">
        <li>
          <Icon name="lock" />
          <div>
            <h2>{t("pointPrivate")}</h2>
            <p>{t("pointPrivateText")}</p>
          </div>
        </li>
        <li>
          <Icon name="question" />
          <div>
            <h2>{t("pointHonest")}</h2>
            <p>{t("pointHonestText")}</p>
          </div>
        </li>
        <li>
          <Icon name="notebook" />
          <div>
            <h2>{t("pointNotebook")}</h2>
            <p>{t("pointNotebookText")}</p>
          </div>
        </li>
      </ul>
    </DropArea>
  );
}

function ModelProblem() {
  const state = model.value;
  if (state.kind === "none") {
    return (
      <div class="problem" role="alert" data-testid="model-problem">
        <p>{t("noModel")}</p>
        <a class="button" href="#/models">
          {t("navModels")}
        </a>
      </div>
    );
  }
  if (state.kind !== "failed") return null;
  return (
    <div class="problem" role="alert" data-testid="model-problem">
      <p>{errorText(state.error)}</p>
      <button type="button" class="button" onClick={() => void retryModel()}>
        {t("tryAgain")}
      </button>
    </div>
  );
}

/** The verdict about one photograph alone, and its most probable class. */
function SmallAnswer({ photo, spec }: { photo: Photo; spec: Spec }) {
  const small = smallAnswer(photo, spec);
  if (small === null) return null;
  const top = argmax(small.probabilities);
  return (
    <span class="small-answer" data-testid="small-answer">
      <VerdictLine verdict={small.verdict} short />
      {isAnswer(small.verdict) && (
        <span>
          {className(spec.classes[top])} {percent(small.probabilities[top])}
        </span>
      )}
    </span>
  );
}

function Strip({ spec, onEdit }: { spec: Spec | null; onEdit: () => void }) {
  const several = photos.value.length > 1;
  return (
    <div class="strip">
      <ul class={several ? "strip-list strip-several" : "strip-list"} aria-label={t("photographs")}>
        {photos.value.map((photo, i) => (
          <li key={photo.id}>
            <button
              type="button"
              class="strip-item"
              aria-pressed={photo.id === selectedId.value}
              onClick={() => (selectedId.value = photo.id)}
            >
              <span class="strip-picture">
                {photo.analysis ? <Thumbnail picture={photo.analysis.picture} /> : <span class="spinner" />}
              </span>
              <span class="visually-hidden">{t("photograph", { number: i + 1 })}</span>
              {several && spec !== null && <SmallAnswer photo={photo} spec={spec} />}
            </button>
          </li>
        ))}
      </ul>
      <div class="strip-tools">
        <button
          type="button"
          class="button button-compact"
          title={t("cropTurn")}
          onClick={onEdit}
          disabled={selected.value?.analysis == null}
          data-testid="edit"
        >
          <Icon name="crop" />
          <span>{t("cropTurn")}</span>
        </button>
        <button
          type="button"
          class="button button-compact"
          title={t("removePhoto")}
          onClick={() => selected.value && removePhoto(selected.value.id)}
        >
          <Icon name="trash" />
          <span>{t("removePhoto")}</span>
        </button>
        <ChooseButton compact label={t("addPhoto")} />
        <CameraButton compact label={t("camera")} />
      </div>
    </div>
  );
}

/** The heat map of a class, on demand; null where the model draws none. */
function HeatMap({ of }: { of: ClassSpec | null }) {
  if (of === null) return <p class="small">{t("heatNone")}</p>;
  const shown = heat.value > 0;
  return (
    <div class="heat-tools">
      <button
        type="button"
        class="button"
        aria-pressed={shown}
        onClick={() => (heat.value = shown ? 0 : HEAT)}
        data-testid="heat-toggle"
      >
        {t("heatMap")}
      </button>
      {shown && (
        <>
          <input
            type="range"
            aria-label={t("heatStrength")}
            min="5"
            max="100"
            value={Math.round(heat.value * 100)}
            onInput={(event) => (heat.value = Number(event.currentTarget.value) / 100)}
            data-testid="heat-slider"
          />
          <p class="small" data-testid="heat-of">
            {t("heatOf", { name: className(of) })}
          </p>
        </>
      )}
    </div>
  );
}

function Figure({ photo, spec, classIndex }: { photo: Photo; spec: Spec | null; classIndex: number }) {
  const { analysis } = photo;
  const opened = useSignal(false);
  if (analysis === null) {
    return (
      <div class="viewer viewer-waiting" role="status">
        <span class="spinner" />
        <p>{t(model.value.kind === "ready" ? "classifying" : "waitingForModel")}</p>
      </div>
    );
  }
  return (
    <>
      <Viewer
        picture={analysis.picture}
        size={analysis.size}
        cam={heat.value > 0 ? analysis.cam : null}
        classIndex={classIndex}
        opacity={heat.value}
        label={photo.name}
        onOpen={() => (opened.value = true)}
      />
      {opened.value && (
        <Zoom
          load={async () =>
            (await engine.call("preview", { blob: photo.blob, edit: photo.edit, side: FULL_SIDE })).picture
          }
          label={photo.name}
          onClose={() => (opened.value = false)}
          onError={tellError}
        />
      )}
      <HeatMap of={(analysis.cam && spec?.classes[classIndex]) ?? null} />
    </>
  );
}

function factsOf({ malignant, beside, set }: Answer, spec: Spec): Facts {
  const point = operatingPoint(spec);
  return {
    malignant,
    point,
    values: chosenValues(spec),
    set: set && spec.conformal && { classes: set.map((i) => spec.classes[i]), coverage: spec.conformal.coverage },
    beside: beside && { ...beside, known: usedBy(spec, known.value) },
  };
}

/** What leads the answer: the verdict, and what is odd about several photographs. */
export function Lead({ answer, spec }: { answer: Answer; spec: Spec }) {
  const { verdict } = answer;
  const said = verdict.kind === "unsure" && verdict.doubt === "otherKind" ? capture.value : null;
  const taken = said ?? seemsTaken(verdict);
  return (
    <>
      <VerdictBanner verdict={verdict} facts={factsOf(answer, spec)} />
      {taken !== undefined && (
        <div class="actions actions-start">
          <button type="button" class="button" onClick={() => void chooseCapture(taken)} data-testid="fitting-model">
            {said !== null ? t("useFitting") : t("takenSo", { taken: t(CAPTURE_NAMES[taken]) })}
          </button>
        </div>
      )}
      {answer.differ && (
        <p class="problem" data-testid="differ">
          {t("photosDiffer")}
        </p>
      )}
      <p class="disclaimer">
        <Icon name="info" />
        {t("noticeShort")}
      </p>
    </>
  );
}

function Session() {
  const editing = useSignal(false);
  const saving = useSignal(false);
  const chosen = useSignal<number | null>(null);
  const state = model.value;
  const spec = state.kind === "ready" ? state.spec : null;
  const result = answer.value;
  const photo = selected.value;
  useEffect(() => {
    chosen.value = null;
  }, [spec, photos.value.length]);
  const classIndex = chosen.value ?? (result === null ? 0 : argmax(result.probabilities));
  return (
    <DropArea class="session-area">
      <h1 class="visually-hidden">{t("checkTitle")}</h1>
      <div class="session">
        <div class="session-verdict">
          <p class="visually-hidden" aria-live="polite" data-testid="spoken">
            {result !== null &&
              spec !== null &&
              !busy.value &&
              verdictInWords(result.verdict, factsOf(result, spec), result.differ)}
          </p>
          <ModelProblem />
          {result !== null && spec !== null && <Lead answer={result} spec={spec} />}
        </div>
        <div class="session-photo">
          {photo && <Figure photo={photo} spec={spec} classIndex={classIndex} />}
          <Strip spec={spec} onEdit={() => (editing.value = true)} />
        </div>
        <div class="session-answer" aria-busy={busy.value}>
          {result !== null && spec !== null && (
            <Results
              answer={result}
              spec={spec}
              hints={photo?.analysis?.hints ?? []}
              chosen={classIndex}
              onChoose={(index) => (chosen.value = index)}
            />
          )}
          <CaptureSwitch />
          <ModelBadge milliseconds={photo?.analysis?.timing.total} />
        </div>
      </div>
      {result !== null && spec !== null && (
        <div class="session-actions no-print">
          <button
            type="button"
            class="button button-primary"
            disabled={busy.value}
            aria-label={t("saveToNotebook")}
            title={t("saveToNotebook")}
            onClick={() => (saving.value = true)}
            data-testid="save"
          >
            <Icon name="save" />
            {t("save")}
          </button>
          <button type="button" class="button" onClick={startOver} data-testid="start-over">
            {t("startOver")}
          </button>
        </div>
      )}
      {editing.value && photo && <Editor photo={photo} onClose={() => (editing.value = false)} />}
      {saving.value && result !== null && spec !== null && (
        <SaveDialog answer={result} spec={spec} onClose={() => (saving.value = false)} />
      )}
    </DropArea>
  );
}

export function Check() {
  const empty = photos.value.length === 0;
  const first = useRef(true);
  useLayoutEffect(() => {
    // What had the focus is gone with the page before.
    if (first.current) first.current = false;
    else if (document.activeElement === document.body) document.getElementById("main")?.focus({ preventScroll: true });
    if (empty) heat.value = 0; // the next lesion starts without a map
  }, [empty]);
  useEffect(() => () => void (cameraOpen.value = false), []); // "back" closes the camera for good
  return (
    <>
      {empty ? (
        <>
          <ModelProblem />
          <Welcome />
        </>
      ) : (
        <Session />
      )}
      {!empty && captureUnknown.value && <CaptureQuestion />}
      {cameraOpen.value && (
        <Camera
          ghost={lastOfFollowed}
          onShot={(shot) => void addPhotos([shot])}
          onClose={() => (cameraOpen.value = false)}
        />
      )}
    </>
  );
}

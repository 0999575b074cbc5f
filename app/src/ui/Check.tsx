/** The first page: photographs of one lesion in, an answer out. */

import { signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { argmax } from "../core/probabilities";
import { errorText, t } from "../i18n";
import { model, retryModel } from "../state/models";
import { answer, busy, type Photo, photos, removePhoto, selected, selectedId, startOver } from "../state/session";
import { Camera } from "./Camera";
import { Editor } from "./Editor";
import { Icon } from "./icons";
import { Lens } from "./Lens";
import { CameraButton, cameraOpen, ChooseButton, DropArea } from "./Intake";
import { ModelBadge } from "./ModelBadge";
import { answerInWords, Results } from "./Results";
import { SaveDialog } from "./SaveDialog";
import { Thumbnail } from "./Thumbnail";
import { Viewer } from "./Viewer";

/** How strongly the heat map covers the photograph; the same for every photograph. */
const heat = signal(0.6);

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

function Strip({ onEdit }: { onEdit: () => void }) {
  return (
    <div class="strip">
      <ul class="strip-list" aria-label={t("photographs")}>
        {photos.value.map((photo, i) => (
          <li key={photo.id}>
            <button
              type="button"
              class="strip-item"
              aria-pressed={photo.id === selectedId.value}
              aria-label={t("photograph", { number: i + 1 })}
              onClick={() => (selectedId.value = photo.id)}
            >
              {photo.analysis ? <Thumbnail picture={photo.analysis.picture} /> : <span class="spinner" />}
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

function Figure({ photo, classIndex }: { photo: Photo; classIndex: number }) {
  const { analysis } = photo;
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
        cam={analysis.cam}
        classIndex={classIndex}
        opacity={heat.value}
        label={photo.name}
      />
      {analysis.cam === null ? (
        <p class="small">{t("heatNone")}</p>
      ) : (
        <label class="heat-slider">
          <span>{t("heatMap")}</span>
          <input
            type="range"
            min="0"
            max="100"
            value={Math.round(heat.value * 100)}
            onInput={(event) => (heat.value = Number(event.currentTarget.value) / 100)}
            data-testid="heat-slider"
          />
        </label>
      )}
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
    <DropArea class="session">
      <h1 class="visually-hidden">{t("checkTitle")}</h1>
      <div class="session-photo">
        {photo && <Figure photo={photo} classIndex={classIndex} />}
        <Strip onEdit={() => (editing.value = true)} />
      </div>
      <div class="session-answer" aria-busy={busy.value}>
        <p class="visually-hidden" aria-live="polite">
          {result !== null && spec !== null && !busy.value && answerInWords(result, spec)}
        </p>
        <ModelProblem />
        {result !== null && spec !== null && (
          <>
            <Results
              answer={result}
              spec={spec}
              hints={photo?.analysis?.hints ?? []}
              chosen={classIndex}
              onChoose={(index) => (chosen.value = index)}
            />
            <div class="actions actions-start">
              <button
                type="button"
                class="button button-primary"
                onClick={() => (saving.value = true)}
                data-testid="save"
              >
                <Icon name="save" />
                {t("saveToNotebook")}
              </button>
              <button type="button" class="button" onClick={startOver} data-testid="start-over">
                {t("startOver")}
              </button>
            </div>
          </>
        )}
        <ModelBadge milliseconds={photo?.analysis?.timing.total} />
      </div>
      {editing.value && photo && <Editor photo={photo} onClose={() => (editing.value = false)} />}
      {saving.value && result !== null && spec !== null && (
        <SaveDialog answer={result} spec={spec} onClose={() => (saving.value = false)} />
      )}
    </DropArea>
  );
}

export function Check() {
  return (
    <>
      {photos.value.length === 0 ? (
        <>
          <ModelProblem />
          <Welcome />
        </>
      ) : (
        <Session />
      )}
      {cameraOpen.value && <Camera onClose={() => (cameraOpen.value = false)} />}
    </>
  );
}

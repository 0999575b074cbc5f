/** The models page: choose one, load one from a file, read its card, check it on this device. */

import { useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import type { GoldenDifference } from "../core/golden";
import { fits, predictiveValues } from "../core/verdict";
import type { StoredBundle } from "../notebook/database";
import { className, decimal, difference, errorText, fileSize, finePercent, t } from "../i18n";
import { engine } from "../state/engine";
import { unpackBundle } from "../state/bundles";
import { entries, type ModelEntry, modelName } from "../state/catalogue";
import { addModel, capture, model, removeModel, retryModel, useModel } from "../state/models";
import { tellDone, tellError } from "../state/notices";
import { choosePrevalence, prevalencePercent } from "../state/operating";
import { CAPTURE_NAMES } from "./Capture";
import { Confirm } from "./Dialog";
import { FileInput } from "./fields";
import { Icon } from "./icons";
import { Markdown } from "./Markdown";
import { MADE_FOR } from "./ModelBadge";

function ModelRow({ entry }: { entry: ModelEntry }) {
  const state = model.value;
  const inUse = "entry" in state && state.entry?.id === entry.id;
  const removing = useSignal(false);
  const taken = capture.value;
  return (
    <li class="model-row" data-testid="model" data-name={entry.name}>
      <label class="model-choice">
        <input type="radio" name="model" checked={inUse} onChange={() => void useModel(entry.id)} />
        <span>
          <strong>{modelName(entry)}</strong>
          <span>{t(MADE_FOR[entry.domain])}</span>
          {taken !== null && !fits(entry.domain, taken) && (
            <span class="warning-text">{t("notForYours", { taken: t(CAPTURE_NAMES[taken]) })}</span>
          )}
          <span class="small">{t("tellsApart", { names: entry.classes.map(className).join(t("listComma")) })}</span>
          <span class="small model-facts">
            {[
              { device: t("fromFile"), served: t("fromServer"), packaged: entry.title }[entry.origin],
              entry.name,
              t("version", { version: entry.version }),
              entry.weights,
              fileSize(entry.bytes),
            ].join(" · ")}
          </span>
        </span>
      </label>
      {inUse && state.kind === "loading" && <span class="spinner" role="status" aria-label={t("loadingModel")} />}
      {entry.origin === "device" && (
        <button
          type="button"
          class="icon-button"
          aria-label={t("removeModel", { title: modelName(entry) })}
          onClick={() => (removing.value = true)}
        >
          <Icon name="trash" />
        </button>
      )}
      {removing.value && (
        <Confirm
          title={t("removeModel", { title: modelName(entry) })}
          text={t("removeModelText")}
          action={t("delete")}
          onConfirm={() => void removeModel(entry)}
          onClose={() => (removing.value = false)}
        />
      )}
    </li>
  );
}

function SelfCheck() {
  const running = useSignal(false);
  const result = useSignal<GoldenDifference[] | null>(null);
  const run = async (): Promise<void> => {
    running.value = true;
    try {
      result.value = await engine.call("check", null);
    } catch (error) {
      tellError(error);
    } finally {
      running.value = false;
    }
  };
  const passed = result.value?.every((one) => one.passed) ?? false;
  return (
    <section class="panel">
      <h2>{t("selfCheck")}</h2>
      <p>{t("selfCheckText")}</p>
      <div class="actions actions-start">
        <button
          type="button"
          class="button"
          disabled={running.value}
          onClick={() => void run()}
          data-testid="self-check"
        >
          <Icon name="done" />
          {t("selfCheckRun")}
        </button>
      </div>
      {result.value !== null && (
        <p
          role="status"
          class={passed ? "check-passed" : "problem"}
          data-testid="self-check-result"
          data-passed={passed}
        >
          {t(passed ? "selfCheckPassed" : "selfCheckFailed", {
            count: result.value.length,
            pixels: difference(Math.max(0, ...result.value.map((one) => one.pixels))),
            probabilities: difference(Math.max(0, ...result.value.map((one) => one.probabilities))),
          })}
        </p>
      )}
    </section>
  );
}

/** Asks for the prevalence, where the model in use has the figures that go with one. */
export function Prevalence() {
  const state = model.value;
  if (state.kind !== "ready") return null;
  const { spec } = state;
  if (!spec.operating_points.some(({ name }) => predictiveValues(spec, name, 0.5) !== null)) return null;
  return (
    <section class="panel">
      <h2>{t("prevalence")}</h2>
      <label class="field">
        <span>{t("prevalenceLabel")}</span>
        <input
          type="number"
          min="0.01"
          max="99"
          step="any"
          inputMode="decimal"
          defaultValue={prevalencePercent.value}
          onChange={({ currentTarget: field }) => {
            if (field.checkValidity()) choosePrevalence(field.value);
            else field.value = prevalencePercent.value;
          }}
          data-testid="prevalence"
        />
      </label>
      <p class="small">{t("prevalenceText")}</p>
    </section>
  );
}

/** Characters from which a fact has a line of its own. */
const LONG = 60;

function Card() {
  const state = model.value;
  if (state.kind === "failed") {
    return (
      <div class="problem" role="alert" data-testid="model-problem">
        <p>{errorText(state.error)}</p>
        <button type="button" class="button" onClick={() => void retryModel()}>
          {t("tryAgain")}
        </button>
      </div>
    );
  }
  if (state.kind !== "ready") return null;
  const { spec, card } = state;
  const rows: [string, string][] = [
    [t("classes"), String(spec.classes.length)],
    [t("inputSize"), `${spec.input.size} × ${spec.input.size}`],
    [t("network"), `${spec.network.name} (${decimal(spec.network.parameters / 1e6, 2, 2)}\u00a0M)`],
    [t("canAbstain"), t(spec.abstention === null ? "no" : "yes")],
    [t("licence"), spec.licence],
    [t("dataLicence"), spec.data_licence],
  ];
  for (const [split, metrics] of Object.entries(spec.metrics)) {
    const value = metrics["balanced_accuracy"];
    if (value === undefined) continue;
    const interval =
      value.low != null && value.high != null ? ` (${finePercent(value.low)} – ${finePercent(value.high)})` : "";
    rows.push([
      t("balancedAccuracy", { split, protocol: spec.provenance.protocol }),
      finePercent(value.value) + interval,
    ]);
  }
  return (
    <>
      <section class="panel" data-testid="card">
        <h2>{t("modelCard")}</h2>
        <dl class="facts">
          {rows.map(([name, value]) => (
            <div key={name} class={value.length > LONG ? "facts-long" : ""}>
              <dt>{name}</dt>
              <dd>{value}</dd>
            </div>
          ))}
        </dl>
        <details data-testid="whole-card">
          <summary>{t("modelCardFull")}</summary>
          <div lang="en">
            <Markdown text={card} />
          </div>
        </details>
      </section>
      <SelfCheck key={spec.name} />
    </>
  );
}

export function Models() {
  const input = useRef<HTMLInputElement>(null);
  const loading = useSignal(false);
  const replacing = useSignal<StoredBundle | null>(null);
  const add = async (bundle: StoredBundle): Promise<void> => {
    const entry = await addModel(bundle);
    if (model.value.kind === "ready" && model.value.entry === entry)
      tellDone("modelLoaded", { title: modelName(entry) });
  };
  const load = async (files: File[]): Promise<void> => {
    if (files.length === 0) return;
    loading.value = true;
    try {
      const bundle = await unpackBundle(files);
      const known = entries.value.find(({ origin, name }) => origin === "device" && name === bundle.name);
      if (known !== undefined && known.digest !== bundle.digest) replacing.value = bundle;
      else await add(bundle);
    } catch (error) {
      tellError(error, files[0].name);
    } finally {
      loading.value = false;
    }
  };
  return (
    <div class="page">
      <div class="page-head">
        <div>
          <h1>{t("navModels")}</h1>
          <p class="lead">{t("modelsLead")}</p>
        </div>
        <div class="actions">
          <button type="button" class="button" disabled={loading.value} onClick={() => input.current!.click()}>
            <Icon name="import" />
            {t("loadModel")}
          </button>
          <FileInput
            input={input}
            accept=".zip,.json,.onnx,.md,.npz"
            multiple
            testId="bundle-input"
            onFiles={(files) => void load(files)}
          />
        </div>
      </div>
      {entries.value.length === 0 ? (
        <p class="empty">{t("noModel")}</p>
      ) : (
        <div role="radiogroup" aria-label={t("navModels")}>
          <ul class="model-list">
            {entries.value.map((entry) => (
              <ModelRow key={entry.id} entry={entry} />
            ))}
          </ul>
        </div>
      )}
      <Prevalence />
      <Card />
      {replacing.value !== null && (
        <Confirm
          title={t("replaceModel", { name: replacing.value.name })}
          text={t("replaceModelText")}
          action={t("replace")}
          onConfirm={() => void add(replacing.value!).catch((error: unknown) => tellError(error))}
          onClose={() => (replacing.value = null)}
        />
      )}
    </div>
  );
}

/** The page, and what makes the app work offline once the model is there. */

import { effect } from "@preact/signals";
import { render } from "preact";
import { startLanguage } from "./state/preferences";
import { startOffline } from "./state/offline";
import { captureUnknown, model } from "./state/models";
import { startDraft } from "./state/draft";
import { takeShared } from "./state/shared";
import { classifyWaiting, forgetAnswers } from "./state/session";
import { modelStarted } from "./startup";
import { App } from "./ui/App";

void startLanguage().then(() => {
  render(<App />, document.getElementById("app")!);
  void startDraft()
    .then(takeShared)
    .catch(() => undefined);
});

// Photographs that came in while no model was there or before the person said how they were taken, or that another model answered, are (again) classified.
let answering: string | null = null;
effect(() => {
  const state = model.value;
  if (captureUnknown.value || state.kind !== "ready") return;
  const another = state.entry.digest !== answering;
  answering = state.entry.digest;
  queueMicrotask(() => {
    if (another) forgetAnswers();
    void classifyWaiting();
  });
});

void modelStarted.finally(() => {
  performance.mark("lentigo:model-ready");
  // After the model has come and is shown, so that they do not compete for the line and the processor.
  requestAnimationFrame(() => setTimeout(() => void startOffline()));
});

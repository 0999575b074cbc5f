/** The page, then the model, then what makes the app work offline. */

import { effect } from "@preact/signals";
import { render } from "preact";
import { startOffline } from "./state/offline";
import { model, startModels } from "./state/models";
import { classifyWaiting, forgetAnswers } from "./state/session";
import { App } from "./ui/App";

render(<App />, document.getElementById("app")!);

// Photographs that came in while no model was there, or that another model answered, are (again) classified.
let answering: string | null = null;
effect(() => {
  const state = model.value;
  if (state.kind !== "ready") return;
  const another = state.entry.digest !== answering;
  answering = state.entry.digest;
  queueMicrotask(() => {
    if (another) forgetAnswers();
    void classifyWaiting();
  });
});

void startModels().finally(() => {
  performance.mark("lentigo:model-ready");
  // After the model has come and is shown, so that they do not compete for the line and the processor.
  requestAnimationFrame(() => setTimeout(() => void startOffline()));
});

/** Start: the page first, then the model, then what makes the app work offline. */

import { effect } from "@preact/signals";
import { render } from "preact";
import "./styles/index.css";
import { engine } from "./state/engine";
import { startOffline } from "./state/offline";
import { model, startModels } from "./state/models";
import { classifyWaiting, forgetAnswers } from "./state/session";
import { App } from "./ui/App";

engine.start();
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
  void startOffline(); // after the model, so that the two do not compete for the line
});

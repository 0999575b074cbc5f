/** Start: the page first, then the model, then what makes the app work offline. */

import { effect } from "@preact/signals";
import { render } from "preact";
import "./styles/index.css";
import { engine } from "./state/engine";
import { startOffline } from "./state/offline";
import { model, startModels } from "./state/models";
import { classifyAll, forgetAnswers } from "./state/session";
import { App } from "./ui/App";

engine.start();
render(<App />, document.getElementById("app")!);

// Photographs that came in before the model did, or that another model answered, are (again) classified.
let answering: string | null = null;
effect(() => {
  const state = model.value;
  if (state.kind !== "ready" || state.entry.digest === answering) return;
  answering = state.entry.digest;
  queueMicrotask(() => {
    forgetAnswers();
    void classifyAll();
  });
});

void startModels().finally(() => {
  performance.mark("lentigo:model-ready");
  void startOffline(); // after the model, so that the two do not compete for the line
});

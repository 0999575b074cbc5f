/** What runs first: the worker starts, and the model is asked for, before the page's own script is read. */

import "./styles/index.css";
import { engine } from "./state/engine";

engine.start();

void import("./startup");
const showPage = (): void => void import("./main");
if (document.readyState === "loading") addEventListener("DOMContentLoaded", showPage);
else showPage();

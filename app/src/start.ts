/** What runs first: the worker, whose runtime takes longest, starts before the page's own script is even read. */

import "./styles/index.css";
import { engine } from "./state/engine";

engine.start();

const showPage = (): void => void import("./main");
if (document.readyState === "loading") addEventListener("DOMContentLoaded", showPage);
else showPage();

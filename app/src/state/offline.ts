/** The service worker: keeps the app on the device, and tells when a newer version has been fetched. */

import { signal } from "@preact/signals";
import { draftKept } from "./draft";

export const updateReady = signal(false);

let waiting: ServiceWorker | null = null;

/** Register the service worker; without one (plain HTTP, private window) the app works, but only online. */
export async function startOffline(): Promise<void> {
  if (!("serviceWorker" in navigator) || import.meta.env.DEV) return;
  try {
    const registration = await navigator.serviceWorker.register("sw.js", { updateViaCache: "none" });
    watch(registration);
    addEventListener("online", () => void registration.update().catch(() => undefined));
  } catch {
    // refused: the app still works as an ordinary page
  }
}

function watch(registration: ServiceWorkerRegistration): void {
  const offer = async (worker: ServiceWorker | null): Promise<void> => {
    const { controller } = navigator.serviceWorker;
    if (worker === null || controller === null) return; // the first version is nothing new
    const [before, after] = await Promise.all([appOf(controller), appOf(worker)]);
    if (before !== null && before === after) return worker.postMessage("activate"); // the same app, with other models
    waiting = worker;
    updateReady.value = true;
  };
  void offer(registration.waiting);
  registration.addEventListener("updatefound", () => {
    const installing = registration.installing;
    installing?.addEventListener("statechange", () => {
      if (installing.state === "installed") void offer(installing);
    });
  });
}

const ANSWERED_MS = 3000;

/** Which app a service worker keeps, its models apart; null where it does not say: those of earlier versions do not. */
function appOf(worker: ServiceWorker): Promise<string | null> {
  const { port1, port2 } = new MessageChannel();
  return new Promise((resolve) => {
    port1.onmessage = ({ data }) => resolve(String(data));
    setTimeout(() => resolve(null), ANSWERED_MS);
    worker.postMessage("which", [port2]);
  });
}

/** Switch to the waiting version and load the page anew, once what is under way has been kept. */
export async function applyUpdate(): Promise<void> {
  updateReady.value = false;
  await draftKept();
  navigator.serviceWorker.addEventListener("controllerchange", () => location.reload(), { once: true });
  waiting?.postMessage("activate");
}

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
  const offer = (worker: ServiceWorker | null): void => {
    if (worker === null || navigator.serviceWorker.controller === null) return; // the first version is nothing new
    waiting = worker;
    updateReady.value = true;
  };
  offer(registration.waiting);
  registration.addEventListener("updatefound", () => {
    const installing = registration.installing;
    installing?.addEventListener("statechange", () => {
      if (installing.state === "installed") offer(installing);
    });
  });
}

/** Switch to the waiting version and load the page anew, once what is under way has been kept. */
export async function applyUpdate(): Promise<void> {
  updateReady.value = false;
  await draftKept();
  navigator.serviceWorker.addEventListener("controllerchange", () => location.reload(), { once: true });
  waiting?.postMessage("activate");
}

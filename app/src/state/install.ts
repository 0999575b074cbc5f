/** Some browsers let the page itself offer to be installed. */

import { signal } from "@preact/signals";

interface InstallEvent extends Event {
  prompt(): Promise<unknown>;
}

export const installOffer = signal<InstallEvent | null>(null);

addEventListener("beforeinstallprompt", (event) => {
  event.preventDefault(); // shown when the person asks for it, not on its own
  installOffer.value = event as InstallEvent;
});
addEventListener("appinstalled", () => (installOffer.value = null));

export async function install(): Promise<void> {
  const offer = installOffer.value;
  installOffer.value = null; // an offer can be made once
  await offer?.prompt().catch(() => undefined); // withdrawn by the browser
}

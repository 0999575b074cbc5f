/** Photographs that another app shared with this one, which the service worker has kept (sw.ts). */

import { addPhotos } from "./session";

const SHARED = "lentigo-shared";

/** Take what was shared into the check; each photograph is taken once. */
export async function takeShared(): Promise<void> {
  if (globalThis.caches === undefined || !(await caches.has(SHARED))) return;
  const cache = await caches.open(SHARED);
  const found: { blob: Blob; name: string }[] = [];
  for (const request of await cache.keys()) {
    const response = await cache.match(request);
    if (response === undefined || !(await cache.delete(request))) continue;
    const name = decodeURIComponent(response.headers.get("x-name") ?? "");
    found.push({ blob: await response.blob(), name });
  }
  await caches.delete(SHARED);
  if (found.length > 0) await addPhotos(found);
}

/**
 * The service worker: one cache a version, filled whole before that version is used.
 *
 * `PRECACHE` is put in front of this file when the app is packaged (build/package.mjs).
 */

/// <reference lib="webworker" />

interface Precache {
  /** Digest over the app's own files, without the models. */
  app: string;
  /** Digest over every file of this version. */
  version: string;
  /**
   * Addresses relative to the app; `pinned` ones hold a digest, so that the same address is always the same file, and
   * `rare` ones are fetched when they are first needed.
   */
  files: { url: string; pinned: boolean; rare?: boolean }[];
}

declare const PRECACHE: Precache;
const worker = self as unknown as ServiceWorkerGlobalScope;

const PREFIX = "lentigo-";
const CURRENT = PREFIX + PRECACHE.version;
const RARE = PRECACHE.files.filter(({ rare }) => rare).map(({ url }) => new URL(url, worker.registration.scope).href);
const SHARED = `${PREFIX}shared`;
/** On this very machine a server answers or refuses at once, and may have been started with other models since. */
const NEAR = ["localhost", "127.0.0.1", "[::1]"].includes(worker.location.hostname);
const MODELS = `${PREFIX}models`; // bundles that were chosen later; not tied to a version of the app

async function fill(): Promise<void> {
  const cache = await caches.open(CURRENT);
  await Promise.all(
    PRECACHE.files.map(async ({ url, pinned, rare }) => {
      const address = new URL(url, worker.registration.scope).href;
      const known = pinned ? await caches.match(address) : undefined; // an update fetches only what changed
      if (known !== undefined) return cache.put(address, known);
      if (rare) return;
      const response = await fetch(address, { cache: pinned ? "default" : "reload" });
      if (!response.ok) throw new Error(`${url}: ${response.status}`);
      await cache.put(address, response);
    }),
  );
}

async function removeOldVersions(): Promise<void> {
  for (const name of await caches.keys()) {
    if (name.startsWith(PREFIX) && name !== CURRENT && name !== MODELS && name !== SHARED) await caches.delete(name);
  }
  await worker.clients.claim();
}

async function answer(request: Request): Promise<Response> {
  if (NEAR && request.url === `${worker.registration.scope}bundles/index.json`) {
    const fresh = await fetch(request).catch(() => undefined);
    if (fresh?.ok) return fresh;
  }
  const current = await caches.open(CURRENT);
  const address = request.mode === "navigate" ? worker.registration.scope : request.url;
  const cached = (await current.match(address)) ?? (await (await caches.open(MODELS)).match(address));
  if (cached !== undefined) return cached;
  const response = await fetch(request);
  if (response.ok && new URL(request.url).searchParams.has("v")) await keepModelFile(request, response.clone());
  if (response.ok && RARE.includes(request.url)) await current.put(request, response.clone()).catch(() => undefined);
  return response;
}

/** Keep a bundle's file for use without a network, in the place of its older versions. */
async function keepModelFile(request: Request, response: Response): Promise<void> {
  try {
    const cache = await caches.open(MODELS);
    for (const older of await cache.keys(request, { ignoreSearch: true })) await cache.delete(older);
    await cache.put(request, response);
  } catch {
    // no space: this model needs the network then
  }
}

/** Photographs that another app shared: kept on the device until the page takes them (state/shared.ts). */
async function takeShared(request: Request): Promise<Response> {
  const files = (await request.formData()).getAll("photos").filter((entry) => entry instanceof File);
  const cache = await caches.open(SHARED);
  await Promise.all(
    files.map((file, i) =>
      cache.put(
        `${worker.registration.scope}shared/${Date.now()}-${i}`,
        new Response(file, { headers: { "content-type": file.type, "x-name": encodeURIComponent(file.name) } }),
      ),
    ),
  );
  return Response.redirect(`${worker.registration.scope}#/check`, 303);
}

worker.addEventListener("install", (event) => event.waitUntil(fill()));
worker.addEventListener("activate", (event) => event.waitUntil(removeOldVersions()));
worker.addEventListener("message", (event) => {
  if (event.data === "activate") void worker.skipWaiting();
  if (event.data === "which") event.ports[0].postMessage(PRECACHE.app);
});
worker.addEventListener("fetch", (event) => {
  const { request } = event;
  const { scope } = worker.registration;
  if (request.method === "POST" && request.url === `${scope}share`) return event.respondWith(takeShared(request));
  if (request.method === "GET" && request.url.startsWith(scope)) event.respondWith(answer(request));
});

/**
 * The check under way is kept in the device's database, so that a reload, an update or a closed tab loses nothing.
 *
 * Each tab has a draft of its own. A tab holds a lock while it is open; a draft without one was left by a tab that was
 * closed, and the next tab takes it over. A tab that was duplicated starts with the name of the other's draft, whose lock
 * is held: it gets a draft of its own.
 */

import { effect } from "@preact/signals";
import { AppError, plainError } from "../core/errors";
import { database, type Draft, storageError } from "../notebook/database";
import { identity } from "../notebook/record";
import { tellDone, tellError } from "./notices";
import { addPhotos, concerns, followUp, known, type Photo, photos, words } from "./session";

const KEY = "lentigo.draft";
const lockOf = (id: string): string => `lentigo-draft-${id}`;

function ownId(): string | null {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
}

function keepOwnId(id: string): void {
  try {
    sessionStorage.setItem(KEY, id);
  } catch {
    // refused: the draft is found as one that a closed tab left
  }
}

/** Pages served over plain HTTP have no locks: there the other tabs are asked, and answer. */
let tabs: BroadcastChannel | null = null;
const ANSWERED_MS = 300;

/** Say that this draft is in use, for as long as the page is open. */
function hold(id: string): void {
  navigator.locks?.request(lockOf(id), () => new Promise(() => undefined)).catch(() => undefined);
  const asked = tabs;
  asked?.addEventListener("message", ({ data }) => data === "who" && asked.postMessage(id));
}

/** The drafts of the other tabs that are open. */
async function heldElsewhere(): Promise<(id: string) => boolean> {
  if (navigator.locks !== undefined) {
    const held = new Set((await navigator.locks.query()).held?.map(({ name }) => name));
    return (id) => held.has(lockOf(id));
  }
  const held = new Set<unknown>();
  tabs = new BroadcastChannel("lentigo-drafts");
  tabs.addEventListener("message", ({ data }) => held.add(data));
  tabs.postMessage("who");
  await new Promise((resolve) => setTimeout(resolve, ANSWERED_MS));
  return (id) => held.has(id);
}

/** The newest of some drafts. */
const newest = (drafts: readonly Draft[]): Draft | undefined =>
  [...drafts].sort((a, b) => b.saved.localeCompare(a.saved)).at(0);

let draftId = identity();
let written = new Set<number>();
let writing: Promise<void> = Promise.resolve();

/** Bring back what was under way, and keep from now on what is. Where the browser keeps no data, nothing is kept. */
export async function startDraft(): Promise<void> {
  try {
    const db = await database();
    const isHeld = await heldElsewhere();
    const free = (await db.getAll("drafts")).filter(({ id }) => !isHeld(id));
    const own = ownId();
    const draft = free.find(({ id }) => id === own) ?? newest(free);
    draftId = draft?.id ?? (own !== null && !isHeld(own) ? own : draftId);
    hold(draftId);
    keepOwnId(draftId);
    if (draft !== undefined) await restore(draft);
  } catch {
    return;
  }
  effect(() => {
    const rest = { concerns: concerns.value, known: known.value, followUp: followUp.value, words: words.value };
    const now = photos.value;
    writing = writing.then(() => write(now, rest)).then(() => void (told = false), tell);
  });
}

let told = false;

/** Say once that what is under way is not on the device, and why. */
function tell(error: unknown): void {
  if (told) return;
  told = true;
  const { key } = plainError(storageError(error));
  tellError(new AppError(key === "storageFull" ? "draftNoSpace" : "draftUnkept"));
}

async function restore(draft: Draft): Promise<void> {
  const db = await database();
  const found = await Promise.all(draft.photos.map(({ key }) => db.get("draftPhotos", [draft.id, key])));
  const back = draft.photos.flatMap(({ key, name, edit }, i) => {
    const blob = found[i]?.blob;
    return blob === undefined ? [] : [{ id: key, name, edit, blob }];
  });
  written = new Set(back.map(({ id }) => id));
  concerns.value = draft.concerns;
  known.value = draft.known ?? {};
  followUp.value = draft.followUp;
  words.value = draft.words ?? null;
  if (back.length === 0) return;
  const chosen = photos.value; // meanwhile
  photos.value = [];
  void addPhotos([...back, ...chosen.map(({ id: _, ...rest }) => rest)]);
  tellDone("draftRestored", { count: back.length });
}

async function write(
  now: readonly Photo[],
  rest: Pick<Draft, "concerns" | "known" | "followUp" | "words">,
): Promise<void> {
  const db = await database();
  const transaction = db.transaction(["drafts", "draftPhotos"], "readwrite");
  const blobs = transaction.objectStore("draftPhotos");
  const kept = new Set(now.map(({ id }) => id));
  const work: Promise<unknown>[] = [transaction.done];
  for (const { id, blob } of now) {
    if (!written.has(id)) work.push(blobs.put({ draft: draftId, key: id, blob }));
  }
  for (const id of written) if (!kept.has(id)) work.push(blobs.delete([draftId, id]));
  const drafts = transaction.objectStore("drafts");
  work.push(
    now.length === 0
      ? drafts.delete(draftId)
      : drafts.put({
          id: draftId,
          saved: new Date().toISOString(),
          photos: now.map(({ id, name, edit }) => ({ key: id, name, edit })),
          ...rest,
        }),
  );
  await Promise.all(work);
  written = kept;
}

/** Wait until everything under way is on the device. */
export function draftKept(): Promise<void> {
  return writing;
}

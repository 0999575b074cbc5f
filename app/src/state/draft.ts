/**
 * The check under way is kept in the device's database, so that a reload, an update or a closed tab loses nothing.
 *
 * Each tab has a draft of its own. A tab holds a lock while it is open; a draft without one was left by a tab that was
 * closed, and the next tab takes it over.
 */

import { effect } from "@preact/signals";
import { database, type Draft } from "../notebook/database";
import { identity } from "../notebook/record";
import { tellDone } from "./notices";
import { addPhotos, concerns, followUp, type Photo, photos, words } from "./session";

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

/** Hold the lock for as long as the page is open; pages served over plain HTTP have none. */
function hold(id: string): void {
  navigator.locks?.request(lockOf(id), () => new Promise(() => undefined)).catch(() => undefined);
}

/** The newest draft of a tab that was closed. */
async function orphan(drafts: readonly Draft[]): Promise<Draft | undefined> {
  const held = new Set((await navigator.locks?.query())?.held?.map(({ name }) => name));
  return drafts
    .filter(({ id }) => !held.has(lockOf(id)))
    .sort((a, b) => b.saved.localeCompare(a.saved))
    .at(0);
}

let draftId = identity();
let written = new Set<number>();
let writing: Promise<void> = Promise.resolve();

/** Bring back what was under way, and keep from now on what is. Where the browser keeps no data, nothing is kept. */
export async function startDraft(): Promise<void> {
  try {
    const db = await database();
    const drafts = await db.getAll("drafts");
    const own = ownId();
    const draft = drafts.find(({ id }) => id === own) ?? (await orphan(drafts));
    draftId = draft?.id ?? own ?? draftId;
    hold(draftId);
    keepOwnId(draftId);
    if (draft !== undefined) await restore(draft);
  } catch {
    return;
  }
  effect(() => {
    const [now, rest] = [photos.value, { concerns: concerns.value, followUp: followUp.value, words: words.value }];
    writing = writing.then(() => write(now, rest)).catch(() => undefined);
  });
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
  followUp.value = draft.followUp;
  words.value = draft.words ?? null;
  if (back.length === 0) return;
  const chosen = photos.value; // meanwhile
  photos.value = [];
  void addPhotos([...back, ...chosen.map(({ id: _, ...rest }) => rest)]);
  tellDone("draftRestored", { count: back.length });
}

async function write(now: readonly Photo[], rest: Pick<Draft, "concerns" | "followUp" | "words">): Promise<void> {
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

/** Base64: bytes as text. */

import * as v from "valibot";

/** What `fromBase64` can decode: groups of four characters. */
export const base64 = v.pipe(
  v.string(),
  v.regex(/^[A-Za-z0-9+/]*={0,2}$/),
  v.check((text) => text.length % 4 === 0),
);

export function toBase64(bytes: Uint8Array): string {
  let binary = ""; // in parts, since a call takes only so many arguments
  for (let i = 0; i < bytes.length; i += 8192) binary += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(binary);
}

export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

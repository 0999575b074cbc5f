/** A file under a passphrase: AES-GCM with a key from PBKDF2, by the browser's own WebCrypto. */

import * as v from "valibot";
import { base64, fromBase64, toBase64 } from "../core/base64";
import { AppError } from "../core/errors";

const KIND = "lentigo-encrypted";
/** OWASP's figure for PBKDF2 with SHA-256 (2023). */
const ITERATIONS = 600_000;
const MOST_ITERATIONS = 5_000_000; // a file must not hold the device up
export const SHORTEST_PASSPHRASE = 10;

const envelope = v.object({
  kind: v.literal(KIND),
  version: v.literal(1),
  kdf: v.object({
    name: v.literal("PBKDF2"),
    hash: v.literal("SHA-256"),
    iterations: v.pipe(v.number(), v.integer(), v.minValue(100_000), v.maxValue(MOST_ITERATIONS)),
    salt: base64,
  }),
  cipher: v.object({ name: v.literal("AES-GCM"), iv: base64 }),
  data: base64,
});

function subtle(): SubtleCrypto {
  // Browsers leave it out on pages that are neither https nor on this machine.
  const found = globalThis.crypto?.subtle as SubtleCrypto | undefined;
  if (found === undefined) throw new AppError("encryptionUnavailable");
  return found;
}

async function keyFrom(passphrase: string, salt: Uint8Array<ArrayBuffer>, iterations: number): Promise<CryptoKey> {
  const bytes = new TextEncoder().encode(passphrase.normalize("NFKC"));
  const material = await subtle().importKey("raw", bytes, "PBKDF2", false, ["deriveKey"]);
  const kdf = { name: "PBKDF2", hash: "SHA-256", salt, iterations };
  return subtle().deriveKey(kdf, material, { name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"]);
}

export async function encrypt(content: Blob, passphrase: string): Promise<Blob> {
  if (passphrase.length < SHORTEST_PASSPHRASE) throw new AppError("passphraseShort", { least: SHORTEST_PASSPHRASE });
  const salt = crypto.getRandomValues(new Uint8Array(16));
  const iv = crypto.getRandomValues(new Uint8Array(12));
  const key = await keyFrom(passphrase, salt, ITERATIONS);
  const data = await subtle().encrypt({ name: "AES-GCM", iv }, key, await content.arrayBuffer());
  const whole: v.InferOutput<typeof envelope> = {
    kind: KIND,
    version: 1,
    kdf: { name: "PBKDF2", hash: "SHA-256", iterations: ITERATIONS, salt: toBase64(salt) },
    cipher: { name: "AES-GCM", iv: toBase64(iv) },
    data: toBase64(new Uint8Array(data)),
  };
  return new Blob([JSON.stringify(whole)], { type: "application/json" });
}

/** Whether a file is one of ours under a passphrase. */
export async function isEncrypted(file: Blob): Promise<boolean> {
  return (await file.slice(0, 200).text()).includes(`"kind":"${KIND}"`);
}

/** @throws AppError: no such file, or a wrong passphrase (or a changed file: the two cannot be told apart) */
export async function decrypt(file: Blob, passphrase: string): Promise<Blob> {
  let raw: unknown;
  try {
    raw = JSON.parse(await file.text());
  } catch {
    throw new AppError("importNotJson");
  }
  const found = v.safeParse(envelope, raw);
  if (!found.success) throw new AppError("importNotNotebook");
  const { kdf, cipher, data } = found.output;
  const key = await keyFrom(passphrase, fromBase64(kdf.salt), kdf.iterations);
  try {
    const content = await subtle().decrypt({ name: "AES-GCM", iv: fromBase64(cipher.iv) }, key, fromBase64(data));
    return new Blob([content], { type: "application/json" });
  } catch {
    throw new AppError("passphraseWrong");
  }
}

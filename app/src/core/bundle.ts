/** A bundle's files: gathered from a file the person chose, and verified against the checksums of its specification. */

import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import { unzipSync } from "fflate";
import { AppError } from "./errors";
import { parseSpec, SPEC, type Spec } from "./spec";

const MAX_BUNDLE_BYTES = 200_000_000;

export type BundleFiles = Record<string, Uint8Array<ArrayBuffer>>;

/** Hexadecimal SHA-256: the browser's own, or ours on pages served over plain HTTP, which do not have it. */
export async function digest(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const subtle = globalThis.crypto?.subtle as SubtleCrypto | undefined;
  return bytesToHex(subtle === undefined ? sha256(bytes) : new Uint8Array(await subtle.digest("SHA-256", bytes)));
}

/** @throws AppError: the file's checksum is not the one the specification gives */
export async function verifyFile(spec: Spec, name: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
  if (!(name in spec.files)) throw new AppError("bundleFileMissing", { file: name });
  if ((await digest(bytes)) !== spec.files[name]) throw new AppError("bundleDamaged", { file: name });
}

/**
 * Read a bundle from a zip file, or from its loose files chosen together.
 *
 * @throws AppError: no bundle in there, an invalid specification, a missing or a damaged file
 */
export async function readBundle(
  chosen: readonly File[],
): Promise<{ spec: Spec; specText: string; files: BundleFiles }> {
  if (chosen.reduce((sum, file) => sum + file.size, 0) > MAX_BUNDLE_BYTES) throw new AppError("bundleTooLarge");
  const found: BundleFiles = {};
  for (const file of chosen) {
    const bytes = new Uint8Array(await file.arrayBuffer());
    if (bytes[0] === 0x50 && bytes[1] === 0x4b) Object.assign(found, unpack(bytes));
    else found[file.name] = bytes;
  }
  if (!(SPEC in found)) throw new AppError("bundleNotFound");
  const specText = new TextDecoder().decode(found[SPEC]);
  const spec = parseSpec(specText);
  const files: BundleFiles = {};
  for (const name of Object.keys(spec.files)) {
    if (!(name in found)) throw new AppError("bundleFileMissing", { file: name });
    await verifyFile(spec, name, found[name]);
    files[name] = found[name];
  }
  return { spec, specText, files };
}

/** The files of a zip archive that lie beside its `spec.json` (at the top or in one folder). */
function unpack(archive: Uint8Array<ArrayBuffer>): BundleFiles {
  let size = 0;
  let entries: Record<string, Uint8Array>;
  try {
    entries = unzipSync(archive, {
      filter: (entry) => {
        size += entry.originalSize; // a small archive can unpack to anything
        if (size > MAX_BUNDLE_BYTES) throw new AppError("bundleTooLarge");
        return true;
      },
    });
  } catch (error) {
    if (error instanceof AppError) throw error;
    throw new AppError("bundleBadZip");
  }
  const specPath = Object.keys(entries)
    .filter((path) => path === SPEC || path.endsWith(`/${SPEC}`))
    .sort((a, b) => a.length - b.length)[0];
  if (specPath === undefined) return {};
  const folder = specPath.slice(0, -SPEC.length);
  const files: BundleFiles = {};
  for (const [path, bytes] of Object.entries(entries)) {
    const name = path.slice(folder.length);
    if (path.startsWith(folder) && name !== "" && !name.includes("/")) files[name] = new Uint8Array(bytes);
  }
  return files;
}

/** A file of a bundle that the app's own server holds. */

import { AppError } from "../core/errors";

/**
 * Fetch a file; its checksum in the address makes every version of it a new one to caches.
 *
 * @throws AppError: it cannot be fetched
 */
export async function fetchFile(base: string, name: string, digest: string): Promise<ArrayBuffer> {
  try {
    const response = await fetch(`${base}${name}?v=${digest.slice(0, 12)}`);
    if (response.ok) return await response.arrayBuffer();
  } catch {
    // said below
  }
  throw new AppError("bundleUnreachable", { file: name });
}

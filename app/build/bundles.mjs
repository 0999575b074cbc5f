/** Copy bundles into the built app and list them in `bundles/index.json`. */

import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";

const DEFAULT = "dermoscopy-7";
// Of several variants of one model the smallest that passed its accuracy gate is packaged; int8 is slower in WebAssembly.
const PREFERENCE = ["fp16", "fp32", "int8"];

/** Digest of a file's content. */
export function sha256(bytes) {
  return createHash("sha256").update(bytes).digest("hex");
}

async function readBundles(folder) {
  const found = [];
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  for (const entry of entries.sort((a, b) => a.name.localeCompare(b.name))) {
    if (!entry.isDirectory() || entry.name.startsWith(".")) continue;
    const text = await readFile(path.join(folder, entry.name, "spec.json")).catch(() => null);
    if (text !== null)
      found.push({ path: path.join(folder, entry.name), text, spec: JSON.parse(text.toString("utf8")) });
  }
  return found;
}

/** The name without its variant: "dermoscopy-7-fp16" and "dermoscopy-7" are one model. */
function family(spec) {
  return spec.name.replace(/-(fp32|fp16|int8)$/, "");
}

function chooseVariants(found) {
  const chosen = new Map();
  const rank = (one) => PREFERENCE.indexOf(one.spec.weights ?? "fp32");
  for (const one of found) {
    const before = chosen.get(family(one.spec));
    if (before === undefined || rank(one) < rank(before)) chosen.set(family(one.spec), one);
  }
  return [...chosen.values()];
}

/**
 * Copy the bundles of a folder, verified, and write their index.
 *
 * @returns what the index holds, with the files of each bundle
 */
export async function copyBundles(from, to) {
  await rm(to, { recursive: true, force: true });
  await mkdir(to, { recursive: true });
  const bundles = [];
  for (const { path: folder, text, spec } of chooseVariants(await readBundles(from))) {
    const target = path.join(to, spec.name);
    await mkdir(target);
    await writeFile(path.join(target, "spec.json"), text);
    let bytes = 0;
    for (const [name, digest] of Object.entries(spec.files)) {
      const content = await readFile(path.join(folder, name));
      if (sha256(content) !== digest) throw new Error(`${path.join(folder, name)}: damaged; export the bundle again`);
      await writeFile(path.join(target, name), content);
      bytes += content.length;
    }
    bundles.push({
      name: spec.name,
      title: spec.title,
      version: spec.version ?? "1",
      domain: spec.domain ?? "dermoscopy",
      weights: spec.weights ?? "fp32",
      classes: spec.classes.map(({ en, zh, names }) => ({ en, zh, names })),
      bytes,
      specDigest: sha256(text),
      files: spec.files,
    });
  }
  const first = bundles.find((bundle) => family(bundle) === DEFAULT) ?? bundles[0];
  const index = { default: first?.name ?? null, bundles };
  await writeFile(path.join(to, "index.json"), `${JSON.stringify(index, null, 1)}\n`);
  return { default: first ?? null, bundles };
}

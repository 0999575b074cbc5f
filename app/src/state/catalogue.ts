/** The catalogue: which models there are, packaged with the app, served beside it, or loaded by the person. */

import { signal } from "@preact/signals";
import * as v from "valibot";
import { AppError } from "../core/errors";
import { DOMAINS, type Domain, type Spec } from "../core/spec";
import { type ClassNames, t } from "../i18n";

const packagedSchema = v.object({
  default: v.nullable(v.string()),
  /** Whoever started this server chose the default. */
  chosen: v.optional(v.boolean(), false),
  bundles: v.array(
    v.object({
      name: v.string(),
      title: v.string(),
      version: v.string(),
      domain: v.picklist(DOMAINS),
      weights: v.string(),
      classes: v.array(
        v.object({ en: v.string(), zh: v.string(), names: v.exactOptional(v.record(v.string(), v.string())) }),
      ),
      bytes: v.number(),
      specDigest: v.string(),
      files: v.record(v.string(), v.string()),
      /** Of the server that hands the app out, not packaged with the app. */
      own: v.optional(v.boolean(), false),
    }),
  ),
});

export interface ModelEntry {
  /** Unique: a packaged and a loaded bundle may have the same name. */
  id: string;
  origin: "packaged" | "served" | "device";
  name: string;
  title: string;
  version: string;
  domain: Domain;
  weights: string;
  /** Plain names of the classes it tells apart. */
  classes: ClassNames[];
  bytes: number;
  /** SHA-256 of its spec.json. */
  digest: string;
  /** SHA-256 of its other files, where the worker fetches them. */
  files?: Record<string, string>;
}

export const entries = signal<ModelEntry[]>([]);

/** The entry of a bundle that the person loaded. */
export function deviceEntry(spec: Spec, digest: string, bytes: number): ModelEntry {
  return {
    id: `device:${spec.name}`,
    origin: "device",
    name: spec.name,
    title: spec.title,
    version: spec.version,
    domain: spec.domain,
    weights: spec.weights,
    classes: spec.classes.map(({ en, zh, names }) => ({ en, zh, ...(names && { names }) })),
    bytes,
    digest,
  };
}

/**
 * The models that came with the app; `offer` names the default where whoever started the server chose it.
 *
 * @throws AppError: their list cannot be fetched or read
 */
export async function listPackaged(): Promise<{ default: string | null; offer: string; entries: ModelEntry[] }> {
  let index: v.InferOutput<typeof packagedSchema>;
  try {
    const response = await fetch("bundles/index.json");
    if (!response.ok) throw new Error(response.statusText);
    index = v.parse(packagedSchema, await response.json());
  } catch {
    throw new AppError("bundleUnreachable", { file: "bundles/index.json" });
  }
  const listed = index.bundles.map(({ specDigest, own, ...rest }): ModelEntry => {
    const origin = own ? "served" : "packaged";
    return { ...rest, id: `${origin}:${rest.name}`, origin, digest: specDigest };
  });
  const first = listed.find(({ name }) => name === index.default);
  const offer = index.chosen && first ? `${first.id} ${first.digest}` : "";
  return { default: first?.id ?? null, offer, entries: listed };
}

const DOMAIN_NAMES = {
  dermoscopy: "domainDermoscopy",
  clinical: "domainClinical",
  phantom: "domainPhantom",
  other: "domainOther",
  "not stated": "domainNotStated",
} as const;

/** What a model is called: those that came with the app by what they are for, others by their titles. */
export function modelName(entry: ModelEntry): string {
  if (entry.origin !== "packaged") return entry.title;
  return t("modelName", { domain: t(DOMAIN_NAMES[entry.domain]), count: entry.classes.length });
}

import { zipSync, strToU8 } from "fflate";
import { describe, expect, test, vi } from "vitest";
import { digest, readBundle } from "../src/core/bundle";
import { parseSpec } from "../src/core/spec";
import { BUNDLES, bytesOf, textOf } from "./fixtures";

const NAMES = ["spec.json", "model.onnx", "MODEL_CARD.md", "golden.json"];
const folder = (name: string): Record<string, Uint8Array<ArrayBuffer>> =>
  Object.fromEntries(NAMES.map((file) => [file, bytesOf(BUNDLES, name, file)]));
const zipped = (files: Record<string, Uint8Array>): File =>
  new File([zipSync(files) as Uint8Array<ArrayBuffer>], "bundle.zip");
const spec = JSON.parse(textOf(BUNDLES, "alpha", "spec.json")) as Record<string, unknown>;

describe("a bundle from files", () => {
  test("zipped at the top, zipped in a folder, or loose", async () => {
    const files = folder("alpha");
    const nested = Object.fromEntries(Object.entries(files).map(([name, bytes]) => [`some/where/${name}`, bytes]));
    const loose = Object.entries(files).map(([name, bytes]) => new File([bytes], name));
    for (const chosen of [[zipped(files)], [zipped(nested)], loose]) {
      const bundle = await readBundle(chosen);
      expect(bundle.spec.name).toBe("alpha");
      expect(Object.keys(bundle.files).sort()).toEqual(["MODEL_CARD.md", "golden.json", "model.onnx"]);
    }
  });

  test("a changed byte is noticed", async () => {
    const files = folder("alpha");
    files["model.onnx"][100] ^= 1;
    await expect(readBundle([zipped(files)])).rejects.toMatchObject({
      key: "bundleDamaged",
      params: { file: "model.onnx" },
    });
  });

  test("a missing file, another archive, a broken archive and no bundle", async () => {
    const { "golden.json": _, ...rest } = folder("alpha");
    await expect(readBundle([zipped(rest)])).rejects.toMatchObject({
      key: "bundleFileMissing",
      params: { file: "golden.json" },
    });
    await expect(readBundle([zipped({ "readme.txt": strToU8("hello") })])).rejects.toMatchObject({
      key: "bundleNotFound",
    });
    await expect(readBundle([new File(["PK\x03\x04 broken"], "a.zip")])).rejects.toMatchObject({ key: "bundleBadZip" });
    await expect(readBundle([new File(["text"], "a.txt")])).rejects.toMatchObject({ key: "bundleNotFound" });
  });

  test("SHA-256 is the standard's, with and without the browser's own", async () => {
    const expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const abc = new Uint8Array(strToU8("abc"));
    expect(await digest(abc)).toBe(expected);
    vi.stubGlobal("crypto", {}); // a page over plain HTTP
    expect(await digest(abc)).toBe(expected);
    vi.unstubAllGlobals();
  });
});

describe("spec.json", () => {
  const refused = (change: Record<string, unknown>): unknown => {
    try {
      parseSpec(JSON.stringify({ ...spec, ...change }));
    } catch (error) {
      return error;
    }
    return null;
  };

  test("is read as Python wrote it", () => {
    const parsed = parseSpec(JSON.stringify(spec));
    expect(parsed.classes.map(({ code }) => code)).toEqual(["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]);
    expect(parsed.operating_points[0]).toMatchObject({ name: "sensitivity-95", threshold: 0.2 });
  });

  test("fields left out take the defaults of the format", () => {
    const { weights: _w, conformal: _c, operating_points: _o, abstention: _a, ...least } = spec;
    expect(parseSpec(JSON.stringify(least))).toMatchObject({
      weights: "fp32",
      conformal: null,
      operating_points: [],
      abstention: null,
    });
  });

  test.each([
    [{ format: 4 }, "bundleNewer"],
    [{ outputs: { ...(spec["outputs"] as object), atypicality: false } }, "bundleInvalid"],
    [{ format: undefined }, "bundleNotLentigo"],
    [{ surprise: 1 }, "bundleInvalid"],
    [{ temperature: 0 }, "bundleInvalid"],
    [{ name: "../up" }, "bundleInvalid"],
    [{ classes: [] }, "bundleInvalid"],
    [{ files: {} }, "bundleFileMissing"],
    [{ files: { ...(spec["files"] as object), "../x": "0".repeat(64) } }, "bundleInvalid"],
  ])("%j: %s", (change, key) => {
    expect(refused(change)).toMatchObject({ key });
  });

  test("an invalid field is named", () => {
    expect(refused({ input: { ...(spec["input"] as object), size: 8 } })).toMatchObject({
      params: { field: "input.size" },
    });
  });

  test("no JSON at all", () => {
    expect(() => parseSpec("{")).toThrowError("bundleNotJson");
  });
});

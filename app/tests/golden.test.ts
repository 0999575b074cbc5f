/** Every bundle at hand on its golden vectors, with the app's own preprocessing and ONNX Runtime's WebAssembly build. */

import { createRequire } from "node:module";
import path from "node:path";
import { decode } from "fast-png";
import { env } from "onnxruntime-web/wasm";
import { beforeAll, describe, expect, test } from "vitest";
import { verifyFile } from "../src/core/bundle";
import { compareGolden, goldenImage, parseGolden } from "../src/core/golden";
import { softmax } from "../src/core/probabilities";
import { measureQuality } from "../src/core/quality";
import { resizeToSquare } from "../src/core/resize";
import { GOLDEN, MODEL, parseSpec, SPEC } from "../src/core/spec";
import { normalise } from "../src/core/tensor";
import { Network } from "../src/worker/network";
import { bundleFolders, bytesOf, opaque, textOf } from "./fixtures";

beforeAll(() => {
  const runtime = createRequire(import.meta.url).resolve("onnxruntime-web/ort-wasm-simd-threaded.wasm");
  env.wasm.wasmBinary = bytesOf(runtime).buffer;
  env.wasm.numThreads = 1;
});

/** 8-bit RGB(A) pixels of a PNG as (H, W, 4). */
function decodePng(bytes: Uint8Array): { rgba: Uint8ClampedArray; width: number; height: number } {
  const { data, channels, width, height } = decode(bytes);
  const pixels = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return { rgba: channels === 4 ? new Uint8ClampedArray(pixels) : opaque(pixels), width, height };
}

describe.each(bundleFolders().map((folder) => ({ name: path.basename(folder), folder })))(
  "bundle $name",
  ({ folder }) => {
    const spec = parseSpec(textOf(folder, SPEC));

    test("every file has the checksum of the specification", async () => {
      for (const name of Object.keys(spec.files)) await verifyFile(spec, name, bytesOf(folder, name));
    });

    test("reproduces its golden vectors", async () => {
      const golden = parseGolden(textOf(folder, GOLDEN));
      const network = await Network.open(spec, bytesOf(folder, MODEL));
      expect(golden.cases.length).toBeGreaterThan(0);
      for (const example of golden.cases) {
        const { rgba, width, height } = decodePng(goldenImage(example));
        const { size, mean, std } = spec.input;
        const pixels = resizeToSquare(rgba, width, height, size);
        const { logits, embedding, cam, atypicality } = await network.run(normalise(pixels, size, mean, std));
        const quality = measureQuality(pixels, size);
        const difference = compareGolden(golden, example, {
          pixels,
          size,
          logits,
          probabilities: softmax(logits, spec.temperature),
          embedding,
          cam: cam?.values ?? null,
          atypicality,
          quality,
        });
        expect(difference).toMatchObject({ name: example.name, passed: true });
        for (const quantity of ["probabilities", "logits", "embedding", "cam", "atypicality", "quality"] as const)
          expect(difference[quantity], quantity).toBeLessThan(1e-3);
        // Another answer in any quantity is found.
        const right = {
          pixels,
          size,
          logits,
          probabilities: example.probabilities,
          embedding,
          cam: cam?.values ?? null,
          atypicality,
          quality,
        };
        const wrong = [
          { pixels: pixels.map((value) => value ^ 4) },
          { logits: logits.map((value) => value * 1.01) },
          { probabilities: example.probabilities.map((value) => value + 0.002) },
          { embedding: embedding.slice(1) },
          { cam: cam === null ? new Float32Array(1) : null },
          { atypicality: (atypicality ?? 1) * 1.01 },
          // Bundles of format 1 hold no measures of quality.
          ...(example.quality === null ? [] : [{ quality: { ...quality, brightness: quality.brightness * 1.02 } }]),
        ];
        expect(compareGolden(golden, example, right).passed).toBe(true);
        for (const one of wrong) expect(compareGolden(golden, example, { ...right, ...one }).passed).toBe(false);
      }
      await network.release();
    });
  },
);

test("a graph that is not what the specification says is refused in words", async () => {
  const folder = bundleFolders()[0];
  const spec = parseSpec(textOf(folder, SPEC));
  const wrong = { ...spec, input: { ...spec.input, size: spec.input.size * 2 } };
  await expect(Network.open(wrong, bytesOf(folder, MODEL))).rejects.toMatchObject({ key: "modelMismatch" });
  await expect(Network.open(spec, new Uint8Array(100))).rejects.toMatchObject({ key: "modelUnloadable" });
});

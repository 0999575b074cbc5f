/** Every bundle at hand on its golden vectors, with the app's own preprocessing and both runtimes. */

import { createRequire } from "node:module";
import path from "node:path";
import { decode } from "fast-png";
import { env } from "onnxruntime-web/wasm";
import { beforeAll, describe, expect, test, vi } from "vitest";
import { verifyFile } from "../src/core/bundle";
import { compareGolden, goldenImage, parseGolden } from "../src/core/golden";
import { softmax } from "../src/core/probabilities";
import { measureQuality } from "../src/core/quality";
import { resizeToSquare } from "../src/core/resize";
import { GOLDEN, MODEL, parseSpec, type Spec, SPEC } from "../src/core/spec";
import { normalise } from "../src/core/tensor";
import { Network, startRuntime } from "../src/worker/network";
import { Session } from "../src/worker/onnxruntime";
import { OPERATORS } from "../src/worker/operators";
import { bundleFolders, bytesOf, opaque, textOf } from "./fixtures";

const QUANTITIES = ["probabilities", "logits", "embedding", "cam", "atypicality", "modality", "quality"] as const;

beforeAll(async () => {
  const { resolve } = createRequire(import.meta.url);
  env.wasm.wasmBinary = bytesOf(resolve("onnxruntime-web/ort-wasm-simd-threaded.wasm")).buffer;
  await startRuntime(resolve("@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm"));
});

/** 8-bit RGB(A) pixels of a PNG as (H, W, 4). */
function decodePng(bytes: Uint8Array): { rgba: Uint8ClampedArray; width: number; height: number } {
  const { data, channels, width, height } = decode(bytes);
  const pixels = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return { rgba: channels === 4 ? new Uint8ClampedArray(pixels) : opaque(pixels), width, height };
}

/** Open a graph; in ONNX Runtime because the other one is told that it does not know an operator. */
async function openIn(runtime: string, spec: Spec, model: Uint8Array): Promise<Network> {
  const known = OPERATORS["Conv"];
  if (runtime === "ONNX Runtime") delete OPERATORS["Conv"];
  const opened = vi.spyOn(Session, "open");
  try {
    return await Network.open(spec, model);
  } finally {
    OPERATORS["Conv"] = known;
    expect(opened).toHaveBeenCalledTimes(runtime === "ONNX Runtime" ? 1 : 0);
    opened.mockRestore();
  }
}

describe.each(bundleFolders().map((folder) => ({ name: path.basename(folder), folder })))(
  "bundle $name",
  ({ folder }) => {
    const spec = parseSpec(textOf(folder, SPEC));

    test("every file has the checksum of the specification", async () => {
      for (const name of Object.keys(spec.files)) await verifyFile(spec, name, bytesOf(folder, name));
    });

    test.each(["TensorFlow.js", "ONNX Runtime"])("reproduces its golden vectors in %s", async (runtime) => {
      const golden = parseGolden(textOf(folder, GOLDEN));
      const network = await openIn(runtime, spec, bytesOf(folder, MODEL));
      expect(golden.cases.length).toBeGreaterThan(0);
      for (const example of golden.cases) {
        const { rgba, width, height } = decodePng(goldenImage(example));
        const { size, mean, std } = spec.input;
        const pixels = resizeToSquare(rgba, width, height, size);
        const outputs = await network.run(normalise(pixels, size, mean, std));
        const { logits, embedding, cam, atypicality, modality } = outputs;
        const compared = { ...outputs, pixels, size, cam: cam?.values ?? null };
        const quality = measureQuality(pixels, size);
        const difference = compareGolden(golden, example, {
          ...compared,
          probabilities: softmax(logits, spec.temperature),
          quality,
        });
        expect(difference).toMatchObject({ name: example.name, passed: true });
        for (const quantity of QUANTITIES) expect(difference[quantity], quantity).toBeLessThan(1e-3);
        // Another answer in any quantity is found.
        const right = { ...compared, probabilities: example.probabilities, quality };
        const wrong = [
          { pixels: pixels.map((value) => value ^ 4) },
          { logits: logits.map((value) => value * 1.01) },
          { probabilities: example.probabilities.map((value) => value + 0.002) },
          { embedding: embedding.slice(1) },
          { cam: cam === null ? new Float32Array(1) : null },
          { atypicality: (atypicality ?? 1) * 1.01 },
          { modality: modality === null ? [1] : modality.map((value) => value * 1.01) },
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

/** Each operator of src/worker/operators.ts against ONNX Runtime, on graphs of one node. */

import { createRequire } from "node:module";
import { env } from "onnxruntime-web/wasm";
import { PbfWriter } from "pbf";
import { beforeAll, describe, expect, test } from "vitest";
import { parseGraph, singles } from "../src/worker/onnx";
import { Session } from "../src/worker/onnxruntime";
import { backend, OPERATORS, UnsupportedError } from "../src/worker/operators";
import { Interpreter, startKernels } from "../src/worker/tensorflow";
import { bytesOf } from "./fixtures";

const SIZE = 6;
const FLOAT = 1;
const INT64 = 7;

type Given = number | number[] | string;

/** A constant: floats, or int64 where it is a shape or axes. */
interface Tensor {
  shape: number[];
  values: number[];
  type?: typeof FLOAT | typeof INT64;
}

interface NodeSpec {
  operator: string;
  inputs: string[];
  output?: string;
  attributes?: Record<string, Given>;
}

function writeNode({ operator, inputs, output = "y", attributes = {} }: NodeSpec, pbf: PbfWriter): void {
  for (const name of inputs) pbf.writeStringField(1, name);
  pbf.writeStringField(2, output);
  pbf.writeStringField(4, operator);
  for (const [name, value] of Object.entries(attributes)) {
    pbf.writeMessage(
      5,
      () => {
        pbf.writeStringField(1, name);
        if (typeof value === "string") pbf.writeStringField(4, value);
        else if (Array.isArray(value)) value.forEach((one) => pbf.writeVarintField(8, one));
        else if (Number.isInteger(value)) pbf.writeVarintField(3, value);
        else pbf.writeFloatField(2, value);
        pbf.writeVarintField(
          20,
          typeof value === "string" ? 3 : Array.isArray(value) ? 7 : Number.isInteger(value) ? 2 : 1,
        );
      },
      null,
    );
  }
}

function writeTensor(name: string, { shape, values, type = FLOAT }: Tensor, pbf: PbfWriter): void {
  for (const side of shape) pbf.writeVarintField(1, side);
  pbf.writeVarintField(2, type);
  if (type === FLOAT) pbf.writePackedFloat(4, values);
  else pbf.writePackedVarint(7, values);
  pbf.writeStringField(8, name);
}

function writeValue(name: string, shape: number[] | null, pbf: PbfWriter): void {
  pbf.writeStringField(1, name);
  pbf.writeMessage(
    2,
    () => {
      pbf.writeMessage(
        1,
        () => {
          pbf.writeVarintField(1, FLOAT);
          if (shape === null) return;
          pbf.writeMessage(
            2,
            () => shape.forEach((side) => pbf.writeMessage(1, () => pbf.writeVarintField(1, side), null)),
            null,
          );
        },
        null,
      );
    },
    null,
  );
}

/** A model of opset 18 from `image` (1, 3, 6, 6) to `y`. */
function model(nodes: NodeSpec[], constants: Record<string, Tensor> = {}): Uint8Array {
  const pbf = new PbfWriter();
  pbf.writeVarintField(1, 8);
  pbf.writeMessage(
    7,
    () => {
      for (const node of nodes) pbf.writeMessage(1, () => writeNode(node, pbf), null);
      pbf.writeStringField(2, "test");
      for (const [name, tensor] of Object.entries(constants))
        pbf.writeMessage(5, () => writeTensor(name, tensor, pbf), null);
      pbf.writeMessage(11, () => writeValue("image", [1, 3, SIZE, SIZE], pbf), null);
      pbf.writeMessage(12, () => writeValue("y", null, pbf), null);
    },
    null,
  );
  pbf.writeMessage(8, () => pbf.writeVarintField(2, 18), null);
  return pbf.finish();
}

/** Seeded values of about unit size, of both signs. */
function noise(count: number, seed = 1): number[] {
  return Array.from({ length: count }, (_, i) => 2 * Math.sin((i + 1) * 12.9898 * seed));
}

const tensor = (...shape: number[]): Tensor => ({
  shape,
  values: noise(
    shape.reduce((a, b) => a * b, 1),
    shape.length,
  ),
});
const list = (...values: number[]): Tensor => ({ shape: [values.length], values, type: INT64 });
const numbers = (...values: number[]): Tensor => ({ shape: [values.length], values });
const scalar = (value: number): Tensor => ({ shape: [], values: [value] });

const image = Float32Array.from(noise(3 * SIZE * SIZE));

/** The largest difference of both runtimes, as a fraction of the largest value; their shapes must agree. */
async function difference(bytes: Uint8Array): Promise<number> {
  const held = backend().numDataIds();
  const interpreter = new Interpreter(parseGraph(bytes), ["y"]);
  const session = await Session.open(bytes, ["y"]);
  const [mine, theirs] = [(await interpreter.run(image, SIZE))["y"], (await session.run(image, SIZE))["y"]];
  const again = (await interpreter.run(image, SIZE))["y"];
  await Promise.all([interpreter.release(), session.release()]);
  expect(backend().numDataIds()).toBe(held);
  expect(mine.shape).toEqual(theirs.shape);
  expect(again.data).toEqual(mine.data); // nothing of the first run is left over
  const scale = Math.max(...theirs.data.map(Math.abs), 1e-6);
  return Math.max(...theirs.data.map((value, i) => Math.abs(value - mine.data[i]))) / scale;
}

beforeAll(async () => {
  const { resolve } = createRequire(import.meta.url);
  env.wasm.wasmBinary = bytesOf(resolve("onnxruntime-web/ort-wasm-simd-threaded.wasm")).buffer;
  await startKernels(resolve("@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm"));
});

/** Nodes before the one that is tried, which reads `x`. */
const POOLED: NodeSpec = { operator: "GlobalAveragePool", inputs: ["image"], output: "x" };
const ROWS: NodeSpec[] = [
  { ...POOLED, output: "p" },
  { operator: "Flatten", inputs: ["p"], output: "x" },
];

/** Resize as attention exports it. */
const REPEATED = { mode: "nearest", coordinate_transformation_mode: "asymmetric", nearest_mode: "floor" };

type Case = [name: string, nodes: NodeSpec[], constants?: Record<string, Tensor>];

const single = (operator: string, attributes: Record<string, Given> = {}, ...others: string[]): NodeSpec[] => [
  { operator, inputs: ["image", ...others], attributes },
];

const CASES: Case[] = [
  ["convolution", single("Conv", {}, "w", "b"), { w: tensor(5, 3, 3, 3), b: tensor(5) }],
  ["without bias", single("Conv", {}, "w"), { w: tensor(5, 3, 1, 1) }],
  [
    "padded to one side, strides",
    single("Conv", { pads: [1, 0, 2, 1], strides: [2, 1] }, "w"),
    { w: tensor(4, 3, 3, 2) },
  ],
  ["dilated", single("Conv", { pads: [2, 2, 2, 2], dilations: [2, 2] }, "w"), { w: tensor(4, 3, 3, 3) }],
  ["depthwise", single("Conv", { group: 3, pads: [1, 1, 1, 1] }, "w", "b"), { w: tensor(3, 1, 3, 3), b: tensor(3) }],
  [
    "depthwise, dilated",
    single("Conv", { group: 3, pads: [2, 2, 2, 2], dilations: [2, 2] }, "w"),
    { w: tensor(3, 1, 3, 3) },
  ],
  ["depthwise, two filters a channel", single("Conv", { group: 3 }, "w", "b"), { w: tensor(6, 1, 3, 3), b: tensor(6) }],
  [
    "convolution of one dimension",
    [
      ROWS[0],
      { operator: "Squeeze", inputs: ["p", "three"], output: "q" },
      { operator: "Reshape", inputs: ["q", "line"], output: "x" },
      { operator: "Conv", inputs: ["x", "w"], attributes: { pads: [1, 1] } },
    ],
    { three: list(3), line: list(1, 1, -1), w: tensor(1, 1, 3) },
  ],
  ...(["Relu", "Sigmoid", "LeakyRelu"] as const).map((operator): Case => [
    `convolution and ${operator}`,
    [
      { operator: "Conv", inputs: ["image", "w"], output: "x" },
      { operator, inputs: ["x"] },
    ],
    { w: tensor(4, 3, 3, 3) },
  ]),
  ...[6, 5].map((top): Case => [
    `convolution limited to ${top}`,
    [
      { operator: "Conv", inputs: ["image", "w"], output: "x" },
      { operator: "Clip", inputs: ["x", "low", "high"] },
    ],
    { w: tensor(4, 3, 3, 3), low: scalar(0), high: scalar(top) },
  ]),
  [
    "a convolution that is also read elsewhere",
    [
      { operator: "Conv", inputs: ["image", "w"], output: "x" },
      { operator: "Relu", inputs: ["x"], output: "r" },
      { operator: "Sub", inputs: ["r", "x"] },
    ],
    { w: tensor(4, 3, 3, 3) },
  ],
  ["mean of windows", single("AveragePool", { kernel_shape: [3, 2], strides: [3, 2] })],
  ["mean of columns", single("AveragePool", { kernel_shape: [6, 1], strides: [6, 1] })],
  ["mean of one pixel", single("AveragePool", { kernel_shape: [1, 1] })],
  ["largest of windows", single("MaxPool", { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] })],
  ["GlobalAveragePool", single("GlobalAveragePool")],
  ["Clip without a lower limit", single("Clip", {}, "", "high"), { high: scalar(0.5) }],
  ["LeakyRelu", single("LeakyRelu", { alpha: 0.25 })],
  ["HardSigmoid", single("HardSigmoid", { alpha: 0.4, beta: 0.25 })],
  ...["HardSwish", "Identity", "Neg", "Relu", "Sigmoid"].map((operator): Case => [operator, single(operator)]),
  [
    "Sqrt",
    [
      { operator: "Sigmoid", inputs: ["image"], output: "x" },
      { operator: "Sqrt", inputs: ["x"] },
    ],
  ],
  ...["Add", "Sub", "Mul", "Div", "Max", "Min"].flatMap((operator): Case[] => [
    [`${operator} of a number`, single(operator, {}, "c"), { c: scalar(0.7) }],
    [`${operator} of a number for each channel`, single(operator, {}, "c"), { c: tensor(3, 1, 1) }],
    [`${operator} of an image`, single(operator, {}, "c"), { c: tensor(1, 3, 6, 6) }],
    [`${operator} after a pool`, [POOLED, { operator, inputs: ["x", "image"] }]],
  ]),
  [
    "Expand to the shape that it has",
    [
      { operator: "Relu", inputs: ["image"], output: "x" },
      { operator: "Expand", inputs: ["x", "s"] },
    ],
    { s: list(1, 3, 6, 6) },
  ],
  ["Pow, squared", single("Pow", {}, "c"), { c: scalar(2) }],
  [
    "Pow",
    [
      { operator: "Sigmoid", inputs: ["image"], output: "x" },
      { operator: "Pow", inputs: ["x", "c"] },
    ],
    { c: scalar(1.5) },
  ],
  ...["ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp"].flatMap(
    (operator): Case[] => [
      [`${operator} over rows and columns`, single(operator, { keepdims: 0 }, "axes"), { axes: list(2, 3) }],
      [`${operator} over channels`, single(operator, { keepdims: 1 }, "axes"), { axes: list(1) }],
      [`${operator} over the last axis`, single(operator, { keepdims: 0 }, "axes"), { axes: list(-1) }],
      [
        `${operator} after a pool`,
        [
          {
            operator: "AveragePool",
            inputs: ["image"],
            output: "x",
            attributes: { kernel_shape: [2, 2], strides: [2, 2] },
          },
          { operator, inputs: ["x", "axes"], attributes: { keepdims: 0 } },
        ],
        { axes: list(1, 3) },
      ],
    ],
  ),
  [
    "product with a matrix",
    [...ROWS, { operator: "Gemm", inputs: ["x", "w", "b"] }],
    { w: tensor(3, 5), b: tensor(5) },
  ],
  [
    "product with a transposed matrix",
    [...ROWS, { operator: "Gemm", inputs: ["x", "w"], attributes: { transB: 1 } }],
    { w: tensor(5, 3) },
  ],
  ["MatMul with a matrix", single("MatMul", {}, "w"), { w: tensor(6, 4) }],
  ["MatMul with a vector", [...ROWS, { operator: "MatMul", inputs: ["x", "w"] }], { w: tensor(3) }],
  [
    "MatMul of two results",
    [
      { operator: "Reshape", inputs: ["image", "shape"], output: "a" },
      { operator: "Reshape", inputs: ["image", "turned"], output: "b" },
      { operator: "MatMul", inputs: ["a", "b"] },
    ],
    { shape: list(0, 4, -1), turned: list(0, 27, 4) },
  ],
  ["Reshape", single("Reshape", {}, "shape"), { shape: list(0, -1, 4) }],
  ["Flatten", single("Flatten", { axis: 2 })],
  ["Unsqueeze", single("Unsqueeze", {}, "axes"), { axes: list(-1, 0) }],
  ["Squeeze", [POOLED, { operator: "Squeeze", inputs: ["x"] }]],
  [
    "Concat",
    [
      { operator: "AveragePool", inputs: ["image"], output: "a", attributes: { kernel_shape: [1, 1] } },
      { operator: "Concat", inputs: ["a", "image", "c"], attributes: { axis: 1 } },
    ],
    { c: tensor(1, 2, 6, 6) },
  ],
  ["smaller", single("Resize", { mode: "linear", antialias: 1, axes: [2, 3] }, "", "", "sizes"), { sizes: list(4, 3) }],
  ["larger", single("Resize", { mode: "linear", antialias: 1, axes: [2, 3] }, "", "", "sizes"), { sizes: list(9, 7) }],
  ...(
    [
      ["pixels repeated", [1, 1, 3, 2], []],
      ["a mean repeated", [1, 1, 6, 6], [POOLED]],
    ] as const
  ).map(([name, scales, before]): Case => [
    name,
    [
      ...before,
      {
        operator: "Resize",
        inputs: [before.length > 0 ? "x" : "image", "", "scales"],
        attributes: REPEATED,
      },
    ],
    { scales: numbers(...scales) },
  ]),
  ...["image", "x", "rows"].map((other): Case => [
    `a mean repeated, times ${other}`,
    [
      POOLED,
      {
        operator: "AveragePool",
        inputs: ["image"],
        output: "rows",
        attributes: { kernel_shape: [1, 6], strides: [1, 6] },
      },
      {
        operator: "Resize",
        inputs: ["x", "", "scales"],
        output: "r",
        attributes: REPEATED,
      },
      { operator: "Mul", inputs: ["r", other] },
    ],
    { scales: numbers(1, 1, 6, 6) },
  ]),
  [
    "Where, with what is expanded to a shape",
    [
      { operator: "Greater", inputs: ["image", "zero"], output: "g" },
      { operator: "Shape", inputs: ["image"], output: "s" },
      { operator: "Expand", inputs: ["one", "s"], output: "e" },
      { operator: "Where", inputs: ["g", "image", "e"] },
    ],
    { zero: scalar(0), one: scalar(1) },
  ],
  [
    "a comparison as a number",
    [
      { operator: "Less", inputs: ["image", "zero"], output: "l" },
      { operator: "Cast", inputs: ["l"], attributes: { to: FLOAT } },
    ],
    { zero: scalar(0.1) },
  ],
];

describe("as ONNX Runtime computes it", () => {
  test.each(CASES)("%s", async (_, nodes, constants) => {
    expect(await difference(model(nodes, constants))).toBeLessThan(2e-6);
  });

  test("every operator is tried", () => {
    const tried = new Set(CASES.flatMap(([, nodes]) => nodes.map(({ operator }) => operator)));
    expect(Object.keys(OPERATORS).filter((operator) => !tried.has(operator))).toEqual([]);
  });
});

test.each<Case>([
  ["an operator", single("Softmax", { axis: 1 })],
  ["groups of channels", single("Conv", { group: 3 }, "w"), { w: tensor(6, 2, 3, 3) }],
  ["padding in words", single("Conv", { auto_pad: "SAME_UPPER" }, "w"), { w: tensor(3, 3, 3, 3) }],
  ["a window that is rounded up", single("MaxPool", { kernel_shape: [4, 4], strides: [4, 4], ceil_mode: 1 })],
  ["a padded mean", single("AveragePool", { kernel_shape: [3, 3], pads: [1, 1, 1, 1] })],
  [
    "a scaled product",
    [...ROWS, { operator: "Gemm", inputs: ["x", "w"], attributes: { alpha: 0.5 } }],
    { w: tensor(3, 5) },
  ],
  ["another interpolation", single("Resize", { mode: "cubic", axes: [2, 3] }, "", "", "sizes"), { sizes: list(4, 3) }],
  [
    "nodes in another order",
    [
      { operator: "Relu", inputs: ["x"] },
      { operator: "Neg", inputs: ["image"], output: "x" },
    ],
  ],
  ["an output that is missing", [{ operator: "Relu", inputs: ["image"], output: "x" }]],
  ["a weight that is computed", [{ operator: "Conv", inputs: ["image", "image"] }]],
])("%s that is not known is left to the other runtime", (_, nodes, constants) => {
  expect(() => new Interpreter(parseGraph(model(nodes, constants)), ["y"])).toThrow(UnsupportedError);
});

test("a file that is no graph is refused", () => {
  expect(() => parseGraph(new Uint8Array(100))).toThrow();
  expect(() => parseGraph(model(single("Relu")).slice(0, 40))).toThrow();
});

test("half precision: every number, without the browser's own type too", () => {
  const halves = Uint16Array.from({ length: 65536 }, (_, i) => i);
  const found = singles(halves, undefined);
  const expected = (half: number): number => {
    const [sign, exponent, fraction] = [half >> 15 ? -1 : 1, (half >> 10) & 31, half & 1023];
    if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
    return sign * (exponent === 0 ? fraction / 1024 / 2 ** 14 : (1 + fraction / 1024) * 2 ** (exponent - 15));
  };
  expect(Array.from(found)).toEqual(Array.from(halves, expected));
});

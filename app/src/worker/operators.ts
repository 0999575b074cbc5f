/**
 * ONNX operators by the kernels of TensorFlow.js's WebAssembly backend.
 *
 * Each entry of `OPERATORS` checks a node's attributes, prepares its weights, and returns the step that computes the
 * node's output. What an entry does not know it refuses, so that another runtime takes the graph.
 */

import { engine, getKernel, type NamedAttrMap, type TensorInfo as Tensor } from "@tensorflow/tfjs-core";
import type { BackendWasm } from "@tensorflow/tfjs-backend-wasm/dist/base";
import type { Constant, Node } from "./onnx";

/** A graph has an operator, attribute or type that is not known here. */
export class UnsupportedError extends Error {}

/** An intermediate result. */
export interface Value {
  tensor: Tensor;
  /** Stored as (N, H, W, C), as the kernels need it, where ONNX says (N, C, H, W). */
  channelsLast?: boolean;
  /** Height and width that a side of 1 is still to be repeated to; broadcasting mostly makes that unnecessary. */
  extent?: [height: number, width: number];
}

export type Read = (name: string) => Value;
export type Step = (read: Read) => Value;

/** What a node's entry is given beside the node. */
export interface Context {
  /** A constant's shape and data; undefined where the name is computed. */
  constant(name: string | undefined): Constant | undefined;
  /** Make a tensor and keep it for as long as the graph is loaded. */
  keep(make: () => Tensor): Tensor;
  /** The activation that follows a convolution and is computed with it. */
  activation: Activation;
}

export type Activation = { activation: "linear" | "relu" | "relu6" | "sigmoid" | "leakyrelu"; leakyreluAlpha?: number };

type Operator = (node: Node, context: Context) => Step;

const FLOAT = 1;
/** Where an axis of (N, C, H, W) is in (N, H, W, C). */
const LAST = [0, 3, 1, 2];

export const backend = (): BackendWasm => engine().backend as BackendWasm;

/** What was made since `scoped` was called. */
let made: Tensor[] = [];

function note(tensor: Tensor): Tensor {
  made.push(tensor);
  return tensor;
}

/**
 * Free everything that `compute` makes but its result, which belongs to the caller.
 *
 * The library's own `tidy` and `runKernel` do the same for tensors that can be differentiated, and take longer than
 * the small kernels.
 */
export function scoped(compute: () => Value): Value {
  const outer = made;
  made = [];
  try {
    let value = compute();
    if (!made.includes(value.tensor)) value = { ...value, tensor: run("Identity", { x: value.tensor }) };
    made = made.filter((tensor) => tensor !== value.tensor);
    return value;
  } finally {
    made.forEach(free);
    made = outer;
  }
}

export function free({ dataId }: Tensor): void {
  backend().disposeData(dataId);
}

function run(kernel: string, inputs: Record<string, Tensor>, attributes: Record<string, unknown> = {}): Tensor {
  const attrs = attributes as NamedAttrMap;
  return note(getKernel(kernel, "wasm").kernelFunc({ inputs, attrs, backend: backend() }) as Tensor);
}

export function tensorOf({ data, shape }: Constant): Tensor {
  return note(backend().makeOutput(shape, "float32", undefined, data));
}

/** The numbers of a tensor, copied from the kernels' memory. */
export const valuesOf = ({ dataId }: Tensor): Float32Array<ArrayBuffer> =>
  backend().readSync(dataId) as Float32Array<ArrayBuffer>;

export const product = (sides: readonly number[]): number => sides.reduce((area, side) => area * side, 1);
const reshape = (x: Tensor, shape: number[]): Tensor => run("Reshape", { x }, { shape });
const transpose = (x: Tensor, perm: number[]): Tensor => run("Transpose", { x }, { perm });

function check(known: boolean, node: Node): asserts known {
  if (!known) throw new UnsupportedError(`${node.operator} ${JSON.stringify(node.attributes)}`);
}

function list(node: Node, name: string, otherwise: number[]): number[] {
  const found = node.attributes[name];
  return Array.isArray(found) ? found : otherwise;
}

function number(node: Node, name: string, otherwise: number): number {
  const found = node.attributes[name];
  return typeof found === "number" ? found : otherwise;
}

/** The numbers of an input that must be constant, such as axes. */
function numbers(node: Node, context: Context, input: number): number[] {
  const constant = context.constant(node.inputs[input]);
  check(constant !== undefined, node);
  return Array.from(constant.data);
}

/** A tensor as ONNX has it, with channels last. */
export function channelsLast(tensor: Tensor): Value {
  const whole = tensor.shape.length === 4 ? tensor : reshape(tensor, [1, 1, 1, 1, ...tensor.shape].slice(-4));
  return { tensor: transpose(whole, [0, 2, 3, 1]), channelsLast: true };
}

/** The value with channels last, repeated to its extent. */
function last({ tensor, channelsLast: already, extent }: Value): Tensor {
  if (!already) return channelsLast(tensor).tensor;
  if (extent === undefined) return tensor;
  const [, height, width] = tensor.shape as number[];
  return run("Tile", { x: tensor }, { reps: [1, extent[0] / height, extent[1] / width, 1] });
}

/** The value as ONNX has it. */
export function first(value: Value): Tensor {
  return value.channelsLast ? transpose(last(value), [0, 3, 1, 2]) : value.tensor;
}

/** A step that computes each number from the same place of its input, wherever the channels are. */
function elementwise(node: Node, compute: (x: Tensor) => Tensor): Step {
  return (read) => {
    const value = read(node.inputs[0]);
    return { ...value, tensor: compute(value.tensor) };
  };
}

/** A step whose input and output have their channels last. */
function spatial(node: Node, compute: (x: Tensor) => Tensor): Step {
  return (read) => ({ tensor: compute(last(read(node.inputs[0]))), channelsLast: true });
}

function unary(kernel: string, attributes: (node: Node, context: Context) => Record<string, unknown> = () => ({})) {
  return (node: Node, context: Context): Step => {
    const given = attributes(node, context);
    return elementwise(node, (x) => run(kernel, { x }, given));
  };
}

function binary(kernel: string) {
  return (node: Node): Step => {
    check(node.inputs.length === 2, node);
    return (read) => combine(kernel, read(node.inputs[0]), read(node.inputs[1]));
  };
}

function combine(kernel: string, left: Value, right: Value): Value {
  if (!left.channelsLast && !right.channelsLast) return { tensor: run(kernel, { a: left.tensor, b: right.tensor }) };
  return { tensor: run(kernel, { a: beside(left, right), b: beside(right, left) }), channelsLast: true };
}

/** The value with channels last, not repeated where broadcasting to the other one does the same. */
function beside(value: Value, other: Value): Tensor {
  const { tensor, extent } = value;
  if (product(tensor.shape) === 1 && extent === undefined) return tensor;
  const [, height, width] = other.tensor.shape;
  const broadcast = other.channelsLast && !other.extent && extent?.[0] === height && extent[1] === width;
  return broadcast ? tensor : last(value);
}

/** `x` times a constant plus a constant, limited to [0, 1]. */
function gate(context: Context, scale: number, offset: number): (x: Tensor) => Tensor {
  const [factor, shift] = [scale, offset].map((value) =>
    context.keep(() => tensorOf({ data: Float32Array.of(value), shape: [] })),
  );
  return (x) => {
    const line = run("Add", { a: run("Multiply", { a: x, b: factor }), b: shift });
    return run("ClipByValue", { x: line }, { clipValueMin: 0, clipValueMax: 1 });
  };
}

interface Placement {
  strides: number[];
  pad: "valid" | number[][];
  dilations: number[];
}

const EVERYWHERE: Placement = { strides: [1, 1], pad: "valid", dilations: [1, 1] };

/** Strides and padding of a window; of one dimension, as of height 1. */
function placementOf(node: Node, sides: number): Placement {
  check(["NOTSET", ""].includes(String(node.attributes["auto_pad"] ?? "")), node);
  check((sides === 1 || sides === 2) && number(node, "ceil_mode", 0) === 0, node);
  const ones = Array<number>(sides).fill(1);
  const pads = list(node, "pads", Array<number>(2 * sides).fill(0));
  const flat = (values: number[], filler: number): number[] => (sides === 1 ? [filler, ...values] : values);
  const [before, after] = [flat(pads.slice(0, sides), 0), flat(pads.slice(sides), 0)];
  return {
    strides: flat(list(node, "strides", ones), 1),
    dilations: flat(list(node, "dilations", ones), 1),
    pad: pads.some((side) => side !== 0)
      ? [
          [0, 0],
          [before[0], after[0]],
          [before[1], after[1]],
          [0, 0],
        ]
      : "valid",
  };
}

function convolve(x: Tensor, filter: Tensor, bias: Tensor | null, attributes: Record<string, unknown>): Tensor {
  const kernel = attributes["depthwise"] ? "FusedDepthwiseConv2D" : "FusedConv2D";
  return run(kernel, { x, filter, ...(bias && { bias }) }, { dataFormat: "NHWC", ...attributes });
}

/** Rows times a constant matrix (K, N), as a convolution of 1 x 1, which is the backend's faster product. */
function dense(context: Context, makeMatrix: () => Tensor, bias: Constant | undefined): (rows: Tensor) => Tensor {
  const filter = context.keep(() => {
    const matrix = makeMatrix();
    return reshape(matrix, [1, 1, ...matrix.shape]);
  });
  const [, , inner, outer] = filter.shape as number[];
  const added = bias === undefined ? null : context.keep(() => tensorOf(bias));
  return (rows) => {
    const image = reshape(rows, [1, 1, -1, inner]);
    const found = convolve(image, filter, added, { ...EVERYWHERE, activation: "linear" });
    return reshape(found, [...rows.shape.slice(0, -1), outer]);
  };
}

const convolution: Operator = (node, context) => {
  const weights = context.constant(node.inputs[1]);
  const bias = context.constant(node.inputs[2]);
  check(weights !== undefined && (bias !== undefined || !node.inputs[2]), node);
  const group = number(node, "group", 1);
  check(group === 1 || weights.shape[1] === 1, node);
  const flat = weights.shape.length === 3;
  const [outputs, inputs, ...sides] = weights.shape;
  const [height, width] = flat ? [1, ...sides] : sides;
  const filter = context.keep(() => {
    const x = reshape(tensorOf(weights), [outputs, inputs, height, width]);
    return group === 1
      ? transpose(x, [2, 3, 1, 0])
      : reshape(transpose(x, [2, 3, 0, 1]), [height, width, group, outputs / group]);
  });
  const added = bias === undefined ? null : context.keep(() => tensorOf(bias));
  const placement = placementOf(node, weights.shape.length - 2);
  const attributes = { ...placement, ...context.activation, depthwise: group > 1 };
  if (!flat) return spatial(node, (x) => convolve(x, filter, added, attributes));
  return (read) => {
    const line = first(read(node.inputs[0]));
    const [batch, channels, length] = line.shape;
    const { tensor: x } = channelsLast(reshape(line, [batch, channels, 1, length]));
    const found = first({ tensor: convolve(x, filter, added, attributes), channelsLast: true });
    return { tensor: reshape(found, [batch, outputs, -1]) };
  };
};

function pool(kernel: "AvgPool" | "MaxPool"): Operator {
  return (node) => {
    const filterSize = list(node, "kernel_shape", []);
    check(filterSize.length === 2 && list(node, "dilations", [1, 1]).every((side) => side === 1), node);
    const { strides, pad } = placementOf(node, 2);
    check(kernel === "MaxPool" || pad === "valid", node); // at a border the two count differently
    if (filterSize.every((side) => side === 1)) {
      check(strides.every((side) => side === 1) && pad === "valid", node);
      return spatial(node, (x) => run("Identity", { x }));
    }
    return spatial(node, (x) => run(kernel, { x }, { filterSize, strides, pad }));
  };
}

function reduced(kernel: string, x: Tensor, axis: number[]): Tensor {
  return run(kernel, { x }, { axis, reductionIndices: axis, keepDims: true });
}

function reduce(compute: (x: Tensor, axis: number[]) => Tensor): Operator {
  return (node, context) => {
    check(number(node, "noop_with_empty_axes", 0) === 0, node);
    const given = axesOf(node, context);
    const keep = number(node, "keepdims", 1) === 1;
    return (read) => {
      const value = read(node.inputs[0]);
      const x = value.channelsLast ? last(value) : value.tensor;
      const all = [...x.shape.keys()];
      const axes = (given.length > 0 ? given : all).map((axis) => (axis + x.shape.length) % x.shape.length);
      const found = compute(x, value.channelsLast ? axes.map((axis) => LAST[axis]) : axes);
      const kept: Value = { tensor: found, ...(value.channelsLast && { channelsLast: true }) };
      if (keep) return kept;
      const whole = first(kept);
      const sides = whole.shape.filter((_, axis) => !axes.includes(axis));
      return { tensor: reshape(whole, sides) };
    };
  };
}

function reshaped(shapeOf: (node: Node, context: Context) => (shape: number[]) => number[]): Operator {
  return (node, context) => {
    const target = shapeOf(node, context);
    return (read) => {
      const x = first(read(node.inputs[0]));
      return { tensor: reshape(x, target(x.shape)) };
    };
  };
}

/** Axes of a node, as an input (from opset 13) or an attribute. */
function axesOf(node: Node, context: Context): number[] {
  return node.inputs[1] ? numbers(node, context, 1) : list(node, "axes", []);
}

const resize: Operator = (node, context) => {
  const { mode, coordinate_transformation_mode: coordinates = "half_pixel", nearest_mode: rounding } = node.attributes;
  if (mode === "nearest") {
    check(coordinates === "asymmetric" && rounding === "floor" && Boolean(node.inputs[2]) && !node.inputs[3], node);
    const factors = numbers(node, context, 2);
    check(factors.length === 4 && factors[0] === 1 && factors[1] === 1 && factors.every(Number.isInteger), node);
    const [, , tall, wide] = factors;
    return (read) => {
      const x = last(read(node.inputs[0]));
      const [batch, height, width, channels] = x.shape;
      const extent: [number, number] = [height * tall, width * wide];
      if ((height === 1 || tall === 1) && (width === 1 || wide === 1))
        return { tensor: run("Identity", { x }), channelsLast: true, extent };
      const apart = reshape(x, [batch, height, 1, width, 1, channels]);
      const tiled = run("Tile", { x: apart }, { reps: [1, 1, tall, 1, wide, 1] });
      return { tensor: reshape(tiled, [batch, ...extent, channels]), channelsLast: true };
    };
  }
  const axes = list(node, "axes", []);
  check(mode === "linear" && number(node, "antialias", 0) === 1 && coordinates === "half_pixel", node);
  check(axes[0] === 2 && axes[1] === 3 && Boolean(node.inputs[3]) && !node.inputs[2], node);
  check(["stretch", undefined].includes(node.attributes["keep_aspect_ratio_policy"] as string | undefined), node);
  const [height, width] = numbers(node, context, 3);
  return spatial(node, (x) => blend(blend(x, 1, height), 2, width));
};

/** One axis of (N, H, W, C) at another length by the triangle filter; outside, the pixels of the border go on. */
function blend(x: Tensor, axis: 1 | 2, length: number): Tensor {
  const sides = x.shape as number[];
  const shape = sides.map((side, i) => (i === axis ? length : side));
  const outer = product(sides.slice(0, axis));
  const inner = product(sides.slice(axis + 1));
  const input = sides[axis];
  const scale = input / length;
  const support = Math.max(scale, 1);
  const source = valuesOf(x);
  const result = new Float32Array(outer * length * inner);
  for (let i = 0; i < length; i++) {
    const center = (i + 0.5) * scale - 0.5;
    const [from, to] = [Math.floor(center - support) + 1, Math.floor(center + support) + 1];
    const weights: number[] = [];
    for (let k = from; k < to; k++) weights.push(Math.max(0, 1 - Math.abs(k - center) / support));
    const sum = weights.reduce((total, weight) => total + weight, 0);
    weights.forEach((weight, k) => {
      const part = weight / sum;
      const pixel = Math.min(Math.max(from + k, 0), input - 1);
      for (let block = 0; block < outer; block++) {
        let at = (block * input + pixel) * inner;
        let put = (block * length + i) * inner;
        for (const end = put + inner; put < end; put++, at++) result[put] += part * source[at];
      }
    });
  }
  return tensorOf({ data: result, shape });
}

/** A tensor broadcast to a shape. */
function broadcast(x: Tensor, shape: number[]): Tensor {
  if (x.shape.length === shape.length && x.shape.every((side, i) => side === shape[i])) return x;
  return run("Add", { a: x, b: run("Fill", {}, { shape, value: 0, dtype: "float32" }) });
}

const square = (x: Tensor): Tensor => run("Multiply", { a: x, b: x });

const clip = (node: Node, context: Context): { clipValueMin: number; clipValueMax: number } => ({
  clipValueMin: node.inputs[1] ? numbers(node, context, 1)[0] : -Infinity,
  clipValueMax: node.inputs[2] ? numbers(node, context, 2)[0] : Infinity,
});

/** The activation as a part of the convolution before it; null where the kernels have none. */
export function activationOf(node: Node, context: Context): Activation | null {
  if (node.operator === "Relu") return { activation: "relu" };
  if (node.operator === "Sigmoid") return { activation: "sigmoid" };
  if (node.operator === "LeakyRelu") return { activation: "leakyrelu", leakyreluAlpha: number(node, "alpha", 0.01) };
  if (node.operator !== "Clip") return null;
  const { clipValueMin, clipValueMax } = clip(node, context);
  return clipValueMin === 0 && clipValueMax === 6 ? { activation: "relu6" } : null;
}

export const OPERATORS: Record<string, Operator> = {
  Add: binary("Add"),
  AveragePool: pool("AvgPool"),
  Cast: (node, context) => {
    check(number(node, "to", 0) === FLOAT, node);
    return unary("Cast", () => ({ dtype: "float32" }))(node, context);
  },
  Clip: unary("ClipByValue", clip),
  Concat: (node) => {
    const axis = number(node, "axis", 0);
    return (read) => {
      const values = node.inputs.map(read);
      const channelsLast = values.some((value) => value.channelsLast);
      const tensors = values.map(channelsLast ? last : first);
      const at = (axis + tensors[0].shape.length) % tensors[0].shape.length;
      const tensor = run("Concat", tensors as unknown as Record<string, Tensor>, {
        axis: channelsLast ? LAST[at] : at,
      });
      return { tensor, channelsLast };
    };
  },
  Conv: convolution,
  Div: binary("RealDiv"),
  Expand: (node) => (read) => ({
    tensor: broadcast(first(read(node.inputs[0])), Array.from(valuesOf(read(node.inputs[1]).tensor))),
  }),
  Flatten: reshaped((node) => {
    const axis = number(node, "axis", 1);
    return (shape) => [product(shape.slice(0, axis)), product(shape.slice(axis))];
  }),
  Gemm: (node, context) => {
    const [weights, bias] = [context.constant(node.inputs[1]), context.constant(node.inputs[2])];
    check(weights?.shape.length === 2 && (bias?.shape.length === 1 || !node.inputs[2]), node);
    check(number(node, "transA", 0) === 0 && number(node, "alpha", 1) === 1 && number(node, "beta", 1) === 1, node);
    const turned = number(node, "transB", 0) === 1;
    const matrix = (): Tensor => (turned ? transpose(tensorOf(weights), [1, 0]) : tensorOf(weights));
    const multiply = dense(context, matrix, bias);
    return (read) => ({ tensor: multiply(first(read(node.inputs[0]))) });
  },
  GlobalAveragePool: (node) => spatial(node, (x) => reduced("Mean", x, [1, 2])),
  Greater: binary("Greater"),
  HardSigmoid: (node, context) =>
    elementwise(node, gate(context, number(node, "alpha", 0.2), number(node, "beta", 0.5))),
  HardSwish: (node, context) => {
    const open = gate(context, 1 / 6, 0.5);
    return elementwise(node, (x) => run("Multiply", { a: x, b: open(x) }));
  },
  Identity: unary("Identity"),
  LeakyRelu: unary("LeakyRelu", (node) => ({ alpha: number(node, "alpha", 0.01) })),
  Less: binary("Less"),
  MatMul: (node, context) => {
    const weights = context.constant(node.inputs[1]);
    const sides = weights?.shape.length;
    if (weights === undefined || sides === undefined || sides > 2) {
      return (read) => {
        const [a, b] = node.inputs.map((name) => first(read(name)));
        return { tensor: run("BatchMatMul", { a, b }, { transposeA: false, transposeB: false }) };
      };
    }
    check(sides > 0, node);
    const multiply = dense(
      context,
      () => reshape(tensorOf(weights), [weights.shape[0], sides === 1 ? 1 : -1]),
      undefined,
    );
    return (read) => {
      const found = multiply(first(read(node.inputs[0])));
      return { tensor: sides === 1 ? reshape(found, found.shape.slice(0, -1)) : found };
    };
  },
  Max: binary("Maximum"),
  MaxPool: pool("MaxPool"),
  Min: binary("Minimum"),
  Mul: binary("Multiply"),
  Neg: unary("Neg"),
  Pow: (node, context) => {
    const exponent = context.constant(node.inputs[1]);
    if (exponent?.data.length !== 1 || exponent.data[0] !== 2) return binary("Pow")(node);
    return elementwise(node, square);
  },
  ReduceL2: reduce((x, axis) => run("Sqrt", { x: reduced("Sum", square(x), axis) })),
  ReduceLogSumExp: reduce((x, axis) => {
    const largest = reduced("Max", x, axis); // taken out first, so that no exponential overflows
    const sum = reduced("Sum", run("Exp", { x: run("Sub", { a: x, b: largest }) }), axis);
    return run("Add", { a: run("Log", { x: sum }), b: largest });
  }),
  ReduceMax: reduce((x, axis) => reduced("Max", x, axis)),
  ReduceMean: reduce((x, axis) => reduced("Mean", x, axis)),
  ReduceMin: reduce((x, axis) => reduced("Min", x, axis)),
  ReduceSum: reduce((x, axis) => reduced("Sum", x, axis)),
  ReduceSumSquare: reduce((x, axis) => reduced("Sum", square(x), axis)),
  Relu: unary("Relu"),
  Reshape: reshaped((node, context) => {
    const target = numbers(node, context, 1);
    const copies = number(node, "allowzero", 0) === 0;
    return (shape) => target.map((side, i) => (side === 0 && copies ? shape[i] : side));
  }),
  Resize: resize,
  Shape: (node) => {
    check(number(node, "start", 0) === 0 && node.attributes["end"] === undefined, node);
    return (read) => {
      const { shape } = first(read(node.inputs[0]));
      return { tensor: tensorOf({ data: Float32Array.from(shape), shape: [shape.length] }) };
    };
  },
  Sigmoid: unary("Sigmoid"),
  Sqrt: unary("Sqrt"),
  Squeeze: reshaped((node, context) => {
    const axes = axesOf(node, context);
    return (shape) => {
      const gone = axes.map((axis) => (axis + shape.length) % shape.length);
      return shape.filter((side, axis) => (gone.length > 0 ? !gone.includes(axis) : side !== 1));
    };
  }),
  Sub: binary("Sub"),
  Unsqueeze: reshaped((node, context) => {
    const axes = axesOf(node, context);
    return (shape) => {
      const rank = shape.length + axes.length;
      const added = axes.map((axis) => (axis + rank) % rank);
      const sides = [...shape];
      return Array.from({ length: rank }, (_, axis) => (added.includes(axis) ? 1 : (sides.shift() as number)));
    };
  }),
  Where: (node) => (read) => {
    const [condition, t, e] = node.inputs.map((name) => first(read(name)));
    const { shape } = condition;
    if (Math.max(product(t.shape), product(e.shape)) > product(shape)) throw new UnsupportedError("Where");
    return { tensor: run("Select", { condition, t: broadcast(t, shape), e: broadcast(e, shape) }) };
  },
};

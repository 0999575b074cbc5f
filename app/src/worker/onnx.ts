/** Read an ONNX file: nodes in order of execution, constants, and the shapes of inputs and outputs. */

import { PbfReader } from "pbf";

/** A constant; integers and booleans as numbers too. */
export interface Constant {
  shape: number[];
  data: Float32Array<ArrayBuffer>;
}

export type Attribute = number | string | number[];

export interface Node {
  operator: string;
  /** Of the operator; empty for ONNX's own. */
  domain: string;
  inputs: string[];
  outputs: string[];
  attributes: Record<string, Attribute>;
}

/** An input or output of the graph; a side is a number, or null where the file names it or leaves it open. */
export interface ValueInfo {
  name: string;
  float: boolean;
  shape: (number | null)[];
}

export interface Graph {
  nodes: Node[];
  constants: Map<string, Constant>;
  inputs: ValueInfo[];
  outputs: ValueInfo[];
}

const FLOAT = 1;
const INT32 = 6;
const INT64 = 7;
const FLOAT16 = 10;

/**
 * Parse a serialised `ModelProto` (onnx.proto of ONNX 1.16).
 *
 * Constants of other types than float32, float16, int32 and int64 have no data: whoever needs one finds none.
 *
 * @throws Error: not a protocol buffer, or without a graph
 */
export function parseGraph(bytes: Uint8Array): Graph {
  const graph: Graph = { nodes: [], constants: new Map(), inputs: [], outputs: [] };
  let found = false;
  const readGraph = (tag: number, _: undefined, pbf: PbfReader): void => {
    if (tag === 1) graph.nodes.push(message(pbf, readNode, emptyNode()));
    else if (tag === 5) {
      const tensor = message(pbf, readTensor, emptyTensor());
      graph.constants.set(tensor.name, constantOf(tensor));
    } else if (tag === 11) graph.inputs.push(message(pbf, readValue, { name: "", float: false, shape: [] }));
    else if (tag === 12) graph.outputs.push(message(pbf, readValue, { name: "", float: false, shape: [] }));
  };
  new PbfReader(bytes).readFields((tag, _, pbf) => {
    if (tag !== 7) return;
    found = true;
    pbf.readMessage(readGraph, undefined);
  }, undefined);
  if (!found) throw new Error("no graph");
  return graph;
}

type Reader<T> = (tag: number, result: T, pbf: PbfReader) => void;

function message<T>(pbf: PbfReader, read: Reader<T>, result: T): T {
  return pbf.readMessage(read, result);
}

const emptyNode = (): Node => ({ operator: "", domain: "", inputs: [], outputs: [], attributes: {} });

const readNode: Reader<Node> = (tag, node, pbf) => {
  if (tag === 1) node.inputs.push(pbf.readString());
  else if (tag === 2) node.outputs.push(pbf.readString());
  else if (tag === 4) node.operator = pbf.readString();
  else if (tag === 5) {
    const { name, value } = message(pbf, readAttribute, { name: "", value: null });
    if (value !== null) node.attributes[name] = value;
  } else if (tag === 7) node.domain = pbf.readString();
};

const readAttribute: Reader<{ name: string; value: Attribute | null }> = (tag, attribute, pbf) => {
  if (tag === 1) attribute.name = pbf.readString();
  else if (tag === 2) attribute.value = pbf.readFloat();
  else if (tag === 3) attribute.value = pbf.readVarint(true);
  else if (tag === 4) attribute.value = pbf.readString();
  else if (tag === 8) attribute.value = integers(pbf, attribute.value);
};

/** A repeated integer: packed into one field, or one field each. */
function integers(pbf: PbfReader, before: unknown): number[] {
  return pbf.readPackedVarint(Array.isArray(before) ? (before as number[]) : [], true);
}

interface Tensor {
  name: string;
  shape: number[];
  type: number;
  raw: Uint8Array | null;
  numbers: number[];
}

const emptyTensor = (): Tensor => ({ name: "", shape: [], type: 0, raw: null, numbers: [] });

const readTensor: Reader<Tensor> = (tag, tensor, pbf) => {
  if (tag === 1) tensor.shape = integers(pbf, tensor.shape);
  else if (tag === 2) tensor.type = pbf.readVarint();
  else if (tag === 4) pbf.readPackedFloat(tensor.numbers);
  else if (tag === 5 || tag === 7) pbf.readPackedVarint(tensor.numbers, true);
  else if (tag === 8) tensor.name = pbf.readString();
  else if (tag === 9) tensor.raw = pbf.readBytes();
};

function constantOf({ shape, type, raw, numbers }: Tensor): Constant {
  if (raw === null) {
    const known = type === FLOAT || type === INT32 || type === INT64;
    return { shape, data: Float32Array.from(known ? numbers : []) };
  }
  const bytes = raw.slice().buffer; // from the start of a buffer of its own, as typed arrays need
  if (type === FLOAT) return { shape, data: new Float32Array(bytes) };
  if (type === FLOAT16) return { shape, data: singles(new Uint16Array(bytes)) };
  if (type === INT32) return { shape, data: Float32Array.from(new Int32Array(bytes)) };
  if (type === INT64) return { shape, data: Float32Array.from(new BigInt64Array(bytes), Number) };
  return { shape, data: new Float32Array(0) };
}

/** Half-precision numbers (IEEE 754) in single precision; by the browser's own type where it has one. */
export function singles(halves: Uint16Array<ArrayBuffer>, Halves = globalThis.Float16Array): Float32Array<ArrayBuffer> {
  if (Halves !== undefined) return new Float32Array(new Halves(halves.buffer));
  const result = new Float32Array(halves.length);
  const bits = new Uint32Array(result.buffer);
  for (let i = 0; i < halves.length; i++) {
    const half = halves[i];
    const sign = (half & 0x8000) << 16;
    const exponent = (half >> 10) & 31;
    const fraction = half & 1023;
    if (exponent === 0) result[i] = (sign < 0 ? -1 : 1) * fraction * 2 ** -24;
    else bits[i] = sign | ((exponent === 31 ? 255 : exponent + 112) << 23) | (fraction << 13);
  }
  return result;
}

const readValue: Reader<ValueInfo> = (tag, value, pbf) => {
  if (tag === 1) value.name = pbf.readString();
  else if (tag === 2) message(pbf, readType, value);
};

const readType: Reader<ValueInfo> = (tag, value, pbf) => {
  if (tag === 1) message(pbf, readTensorType, value);
};

const readTensorType: Reader<ValueInfo> = (tag, value, pbf) => {
  if (tag === 1) value.float = pbf.readVarint() === FLOAT;
  else if (tag === 2) message(pbf, readShape, value);
};

const readShape: Reader<ValueInfo> = (tag, value, pbf) => {
  if (tag !== 1) return;
  const side: { length: number | null } = { length: null };
  pbf.readMessage((field, found: typeof side, inner) => {
    if (field === 1) found.length = inner.readVarint(true);
  }, side);
  value.shape.push(side.length);
};

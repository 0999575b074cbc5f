"""Graphs before ONNX Runtime has them: what one may hold, and the same graph with fewer outputs.

`check_operators` refuses what could run without end or read other files. `keep_outputs` takes out what nobody wants, since ONNX Runtime
computes all that a graph has, asked for or not. The ``onnx`` package would do both, but is no part of the use wing; ``protobuf``, which
comes with ONNX Runtime, needs only the few fields that are looked at: it keeps the others as they are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cache
from typing import Any

from lentigo.errors import BundleError
from lentigo.text import one_line

# Message -> (field, number, message or None for text, repeated), as in onnx.proto.
_FIELDS: dict[str, tuple[tuple[str, int, str | None, bool], ...]] = {
    "Model": (("graph", 7, "Graph", False),),
    "Graph": (("node", 1, "Node", True), ("output", 12, "Value", True)),
    "Node": (("input", 1, None, True), ("output", 2, None, True), ("op_type", 4, None, False)),
    "Value": (("name", 1, None, False),),
}
_OPERATORS = """
    Abs Add And ArgMax ArgMin AveragePool BatchNormalization BitShift Cast CastLike Ceil Celu Clip Concat Constant ConstantOfShape
    Conv ConvTranspose Cos CumSum DepthToSpace DequantizeLinear Div Dropout DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand
    Flatten Floor Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual
    GroupNormalization HardSigmoid HardSwish Hardmax Identity InstanceNormalization IsInf IsNaN LayerNormalization LeakyRelu Less
    LessOrEqual Log LogSoftmax LpNormalization LpPool MatMul MatMulInteger Max MaxPool Mean MeanVarianceNormalization Min Mish Mod Mul
    Neg Not OneHot Or PRelu Pad Pow QLinearConv QLinearMatMul QuantizeLinear RMSNormalization Range Reciprocal ReduceL1 ReduceL2
    ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize Round
    ScatterElements ScatterND Selu Shape Sigmoid Sign Sin Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum
    Swish Tan Tanh ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Where Xor
"""
OPERATORS = frozenset(_OPERATORS.split())
"""What a bundle's graph may hold: operators whose work is bounded by their tensors. Control flow (Loop, Scan, If), sequences, strings,
local functions and other domains than ONNX's own are not among them."""
MAX_NODES = 20_000

# Where messages with nodes lie: message -> field number -> the message in it (onnx.proto).
_NESTED = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Graph": {1: "Node", 5: "Tensor", 15: "Sparse"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "Sparse", 23: "Sparse"},
    "Sparse": {1: "Tensor", 2: "Tensor"},
}


def check_operators(content: bytes) -> None:
    """Refuse a graph that could run without end, or that reads other files.

    Args:
        content: an ONNX model.

    Raises:
        BundleError: an operator that is not in `OPERATORS`, a graph within a node, a local function, weights in other files, too many
            nodes, or no ONNX model.
    """
    nodes = 0
    queue = [("Model", memoryview(content))]
    while queue:
        kind, message = queue.pop()
        operator = domain = ""
        for number, value in _fields(message):
            inner = _NESTED.get(kind, {}).get(number)
            if kind == "Node" and number in (4, 7):
                text = bytes(value).decode("utf-8", "replace")
                operator, domain = (text, domain) if number == 4 else (operator, text)
            elif inner in ("Function", "Training"):
                raise BundleError(f"the graph has a {'local function' if inner == 'Function' else 'training part'}, which no bundle needs")
            elif kind == "Attribute" and inner == "Graph":
                raise BundleError("the graph has a graph within a node (control flow), which could run without end")
            elif kind == "Tensor" and number in (13, 14) and bytes(value) not in (b"", b"\0"):
                raise BundleError("the graph has weights in another file; a bundle's graph is one file")
            elif inner is not None:
                queue.append((inner, value))
        if kind == "Node":
            nodes += 1
            if domain not in ("", "ai.onnx") or operator not in OPERATORS:
                name = one_line(f"{domain}.{operator}".lstrip(".")[:80])
                raise BundleError(f"the graph has the operator {name!r}, which is not among those of docs/bundle.md")
        if nodes > MAX_NODES:
            raise BundleError(f"the graph has more than {MAX_NODES:,} nodes")
    if not nodes:
        raise BundleError("the graph has no nodes: not an ONNX model")


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The fields of an encoded protocol buffer and what each holds, numbers as their bytes.

    Plain Python takes 20 to 25 ms for a packaged bundle's graph, where importing ``protobuf`` takes ten times as long.
    """
    place, end = 0, len(message)
    while place < end:
        key, place = _varint(message, place)
        number, wire = key >> 3, key & 7
        start = place
        if wire == 0:
            _, place = _varint(message, place)
        elif wire == 2:
            size, start = _varint(message, place)
            place = start + size
        elif wire in (1, 5):
            place += 8 if wire == 1 else 4
        else:
            raise BundleError("the graph is not an ONNX model (a group)")
        if place > end:
            raise BundleError("the graph is cut off")
        yield number, message[start:place]


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            break
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise BundleError("the graph is cut off, or not an ONNX model")


def keep_outputs(content: bytes, names: Collection[str]) -> bytes:
    """A model without its other outputs, and without what only they need.

    Args:
        content: an ONNX model.
        names: the outputs to keep.

    Returns:
        The model.
    """
    model = _model()()
    model.ParseFromString(content)
    graph = model.graph
    needed = set(names)
    for index in reversed(range(len(graph.node))):  # every node stands behind those it needs
        node = graph.node[index]
        if needed.intersection(node.output):
            needed.update(node.input)
        else:
            del graph.node[index]
    for index in reversed(range(len(graph.output))):
        if graph.output[index].name not in names:
            del graph.output[index]
    pruned: bytes = model.SerializeToString()
    return pruned


@cache
def _model() -> Any:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field_types = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="lentigo/graph.proto", package="lentigo.graph", syntax="proto2")
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for field, number, kind, repeated in fields:
            message.field.add(
                name=field,
                number=number,
                label=field_types.LABEL_REPEATED if repeated else field_types.LABEL_OPTIONAL,
                type=field_types.TYPE_STRING if kind is None else field_types.TYPE_MESSAGE,
                type_name=None if kind is None else f".lentigo.graph.{kind}",
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("lentigo.graph.Model"))

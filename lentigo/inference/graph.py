"""Check a serialised graph before ONNX Runtime loads it, and remove outputs.

`check_operators` refuses graphs that could run without end or read other files. `keep_outputs` removes unused outputs,
since ONNX Runtime computes all nodes of a graph. The ``onnx`` package could do both, but is not a dependency of the use
wing. Only the necessary fields of the protocol buffer are decoded; the others are copied.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from lentigo.errors import BundleError
from lentigo.text import one_line

_OPERATORS = """
    Abs Add And ArgMax ArgMin AveragePool BatchNormalization BitShift Cast CastLike Ceil Celu Clip Concat
    Constant ConstantOfShape Conv ConvTranspose Cos CumSum DepthToSpace DequantizeLinear Div Dropout
    DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand Flatten Floor Gather GatherElements GatherND Gelu Gemm
    GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GroupNormalization HardSigmoid HardSwish
    Hardmax Identity InstanceNormalization IsInf IsNaN LayerNormalization LeakyRelu Less LessOrEqual Log
    LogSoftmax LpNormalization LpPool MatMul MatMulInteger Max MaxPool Mean MeanVarianceNormalization Min Mish
    Mod Mul Neg Not OneHot Or PRelu Pad Pow QLinearConv QLinearMatMul QuantizeLinear RMSNormalization Range
    Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd
    ReduceSum ReduceSumSquare Relu Reshape Resize Round ScatterElements ScatterND Selu Shape Sigmoid Sign Sin
    Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Swish Tan Tanh ThresholdedRelu
    Tile TopK Transpose Trilu Unsqueeze Where Xor
"""
OPERATORS = frozenset(_OPERATORS.split())
"""Operators that a bundle's graph may have: those whose work is bounded by their tensors. Control flow (Loop, Scan,
If), sequences, strings, local functions and domains other than ONNX's own are not allowed."""
MAX_NODES = 20_000

# Where messages with nodes lie: message -> field number -> the message in it (onnx.proto).
_NESTED = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Graph": {1: "Node", 5: "Tensor", 15: "Sparse"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "Sparse", 23: "Sparse"},
    "Sparse": {1: "Tensor", 2: "Tensor"},
    "Tensor": {},
}


def check_operators(content: bytes) -> None:
    """Refuse a graph that could run without end, or that reads other files.

    Args:
        content: an ONNX model.

    Raises:
        BundleError: an operator that is not in `OPERATORS`, a graph within a node, a local function, weights in other
            files, too many nodes, or no ONNX model.
    """
    nodes = 0
    queue = [("Model", memoryview(content))]
    while queue:
        kind, message = queue.pop()
        operator = domain = ""
        nested = _NESTED[kind]
        for number, value, _ in _fields(message):
            inner = nested.get(number)
            if kind == "Node" and number in (4, 7):
                text = bytes(value).decode("utf-8", "replace")
                operator, domain = (text, domain) if number == 4 else (operator, text)
            elif inner in ("Function", "Training"):
                raise BundleError(
                    f"the graph has a {'local function' if inner == 'Function' else 'training part'}, which no bundle"
                    " needs"
                )
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


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview, memoryview]]:
    """Yield the fields of an encoded protocol buffer: number, content (a number as its bytes), and the whole field.

    Plain Python takes about 10 ms for a packaged bundle's graph; importing ``protobuf`` alone takes many times longer.
    """
    place, end = 0, len(message)
    while place < end:
        began = place
        key = message[place]
        place += 1
        if key > 0x7F:  # nearly all are one byte, for which a call would take longer than the rest
            key, place = _varint(message, began)
        number, wire = key >> 3, key & 7
        start = place
        if wire == 0:
            _, place = _varint(message, place)
        elif wire == 2:
            size = message[place] if place < end else 0x80
            start = place + 1
            if size > 0x7F:
                size, start = _varint(message, place)
            place = start + size
        elif wire in (1, 5):
            place += 8 if wire == 1 else 4
        else:
            raise BundleError("the graph is not an ONNX model (a group)")
        if place > end:
            raise BundleError("the graph is cut off")
        yield number, message[start:place], message[began:place]


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
    """Remove the other outputs of a model, and the nodes that only they need.

    Args:
        content: an ONNX model.
        names: the outputs to keep.

    Returns:
        The model.
    """
    parts: list[bytes | memoryview] = []
    for number, value, whole in _fields(memoryview(content)):
        if number == 7:
            graph = _keep_in_graph(value, names)
            parts += [b"\x3a", _as_varint(len(graph)), graph]
        else:
            parts.append(whole)
    return b"".join(parts)


def _keep_in_graph(graph: memoryview, names: Collection[str]) -> bytes:
    fields = list(_fields(graph))
    needed = set(names)
    kept = []
    for number, value, whole in reversed(fields):  # every node stands behind those it needs
        if number == 1:
            named = [(inner, str(text, "utf-8")) for inner, text, _ in _fields(value) if inner in (1, 2)]
            if not any(inner == 2 and name in needed for inner, name in named):
                continue
            needed.update(name for inner, name in named if inner == 1)
        elif number == 12 and not any(inner == 1 and str(text, "utf-8") in names for inner, text, _ in _fields(value)):
            continue
        kept.append(whole)
    return b"".join(reversed(kept))


def _as_varint(value: int) -> bytes:
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])

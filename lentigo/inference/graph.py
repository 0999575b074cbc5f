"""A graph with fewer outputs. ONNX Runtime computes all that a graph has, asked for or not, so what nobody wants is taken out before.

The ``onnx`` package would do it, but is no part of the use wing; ``protobuf``, which comes with ONNX Runtime, needs only the few fields
that are looked at: it keeps the others as they are.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from typing import Any

# Message -> (field, number, message or None for text, repeated), as in onnx.proto.
_FIELDS: dict[str, tuple[tuple[str, int, str | None, bool], ...]] = {
    "Model": (("graph", 7, "Graph", False),),
    "Graph": (("node", 1, "Node", True), ("output", 12, "Value", True)),
    "Node": (("input", 1, None, True), ("output", 2, None, True), ("op_type", 4, None, False)),
    "Value": (("name", 1, None, False),),
}
_WITH_GRAPHS = {"If", "Loop", "Scan"}  # these read values that are not among their inputs


def keep_outputs(content: bytes, names: Collection[str]) -> bytes:
    """A model without its other outputs, and without what only they need.

    Args:
        content: an ONNX model.
        names: the outputs to keep.

    Returns:
        The model; as it was, where it has graphs within graphs.
    """
    model = _model()()
    model.ParseFromString(content)
    graph = model.graph
    if any(node.op_type in _WITH_GRAPHS for node in graph.node):
        return content
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

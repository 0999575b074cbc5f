"""YAML as plain data, whoever wrote it: bounded in length, depth and what its aliases stand for."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import yaml

from lentigo.errors import RecipeError
from lentigo.files import read_regular

MAX_BYTES, MAX_DEPTH, MAX_VALUES, MAX_DIGITS = 2**16, 32, 20_000, 100
MAX_MERGED = 16
"""Mappings that one mapping may take in by ``<<``."""
_MERGE = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader without endless numbers, merges that grow, and keys given twice."""

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        if len(node.value) > MAX_DIGITS and node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float"):
            raise ValueError(f"a number of {len(node.value):,} digits")
        return super().construct_scalar(node)

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)  # before merges bring in keys that may stand there again
        seen = set()
        for key, _ in node.value:
            if (name := (key.tag, str(key.value))) in seen and isinstance(key, yaml.ScalarNode):
                raise ValueError(f"line {key.start_mark.line + 1}: {key.value[:80]!r} appears twice")
            seen.add(name)
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        for key, value in node.value:
            if key.tag == _MERGE and isinstance(value, yaml.SequenceNode) and len(value.value) > MAX_MERGED:
                raise ValueError(f"more than {MAX_MERGED} mappings merged into one")
        super().flatten_mapping(node)
        if len(node.value) > MAX_VALUES:  # those it has taken in, and theirs
            raise ValueError(f"more than {MAX_VALUES:,} values once its merges are written out")


def read_yaml(path: str | Path) -> Any:
    """Plain data from a YAML file.

    Raises:
        RecipeError: missing, not to be read, or as at `parse_yaml`.
    """
    try:
        text = read_regular(Path(path), MAX_BYTES).decode("utf-8")
    except (OSError, ValueError) as error:
        reason = (
            "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else getattr(error, "strerror", None) or error
        )
        raise RecipeError(f"{path}: cannot be read ({reason})") from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, source: str) -> Any:
    """Plain data from YAML.

    Args:
        text: the document.
        source: what to call it in messages.

    Raises:
        RecipeError: not YAML, too long, too deep, too much once aliases are written out, or numbers that are not finite
            or too large.
    """
    if len(text) > MAX_BYTES:
        raise RecipeError(f"{source}: {len(text):,} characters long; a recipe has at most {MAX_BYTES:,}")
    try:
        value = yaml.load(text, _Loader)
        _count(value, {}, 0)
    except RecursionError:
        raise RecipeError(f"{source}: not valid YAML (nested too deeply)") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the latter two: dates and numbers that are none
        raise RecipeError(f"{source}: not valid YAML ({' '.join(str(error).split())[:300]})") from None
    return value


def _count(value: Any, known: dict[int, int], depth: int) -> int:
    """How many values there are once every alias is written out.

    Args:
        value: what is counted.
        known: id of a list or mapping -> its count; 0 while it is being counted, so that one that holds itself is
            found.
        depth: how deep it lies.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is no number here")
    if isinstance(value, int) and abs(value) >= 2**63:
        raise ValueError("a number of more than 63 bits")
    if not isinstance(value, dict | list):
        return 1
    if depth > MAX_DEPTH:
        raise ValueError(f"nested more than {MAX_DEPTH} deep")
    if id(value) not in known:
        known[id(value)] = 0
        inner = [*value, *value.values()] if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_count(one, known, depth + 1) for one in inner)
    elif not known[id(value)]:
        raise ValueError("an alias that holds itself")
    if known[id(value)] > MAX_VALUES:
        raise ValueError(f"more than {MAX_VALUES:,} values once its aliases are written out")
    return known[id(value)]

"""Read untrusted YAML as plain data, with bounds on length, depth and expanded aliases."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import yaml

from lentigo.errors import RecipeError
from lentigo.files import read_regular

MAX_BYTES, MAX_DEPTH, MAX_VALUES, MAX_DIGITS = 2**16, 32, 20_000, 100
MAX_MERGED = 16
"""Maximum number of mappings merged into one by ``<<``."""
_MERGE = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader that refuses very long numbers, large merges and duplicate keys."""

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        if len(node.value) > MAX_DIGITS and node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float"):
            raise ValueError(f"a number of {len(node.value):,} digits")
        return super().construct_scalar(node)

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)  # before merges, whose keys may repeat
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
        if len(node.value) > MAX_VALUES:  # including merged ones
            raise ValueError(f"more than {MAX_VALUES:,} values once its merges are written out")


def read_yaml(path: str | Path) -> Any:
    """Read plain data from a YAML file.

    Raises:
        RecipeError: the file is missing or unreadable, or as in `parse_yaml`.
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
    """Parse plain data from YAML.

    Args:
        text: the document.
        source: its name in messages.

    Raises:
        RecipeError: the text is not YAML, too long, too deep or too large with expanded aliases, or a number is not
            finite or too large.
    """
    if len(text) > MAX_BYTES:
        raise RecipeError(f"{source}: {len(text):,} characters long; a recipe has at most {MAX_BYTES:,}")
    try:
        value = yaml.load(text, _Loader)
        _count(value, {}, 0)
    except RecursionError:
        raise RecipeError(f"{source}: not valid YAML (nested too deeply)") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the latter two: invalid dates and numbers
        raise RecipeError(f"{source}: not valid YAML ({' '.join(str(error).split())[:300]})") from None
    return value


def _count(value: Any, known: dict[int, int], depth: int) -> int:
    """Count the values with every alias expanded.

    Args:
        value: the data.
        known: count of each list or mapping by id; 0 while it is being counted, to detect cycles.
        depth: nesting depth of the value.
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

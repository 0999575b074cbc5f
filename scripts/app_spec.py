"""Write app/src/core/spec.generated.ts, the app's check of spec.json, from the schema of ``lentigo.bundle.Spec``.

Usage: python scripts/app_spec.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lentigo.bundle import AGES, FORMAT, Spec

TARGET = Path(__file__).parents[1] / "app/src/core/spec.generated.ts"

_BOUNDS = {
    "minimum": "minValue",
    "maximum": "maxValue",
    "exclusiveMinimum": "gtValue",
    "exclusiveMaximum": "ltValue",
    "minLength": "minLength",
    "maxLength": "maxLength",
    "minItems": "minLength",
    "maxItems": "maxLength",
}
_KNOWN = frozenset(_BOUNDS) | {
    *("$defs", "$ref", "additionalProperties", "anyOf", "const", "default", "description", "enum", "items"),
    *("pattern", "prefixItems", "properties", "propertyNames", "required", "title", "type"),
}


def _piped(base: str, schema: dict[str, Any], *actions: str) -> str:
    """A schema with its bounds."""
    bounds = [f"v.{name}({schema[key]:.17g})" for key, name in _BOUNDS.items() if key in schema]
    pattern = [f"v.regex(/{schema['pattern']}/)"] if "pattern" in schema else []
    steps = [*actions, *bounds, *pattern]
    return f"v.pipe({', '.join([base, *steps])})" if steps else base


def _object(schema: dict[str, Any]) -> str:
    if "properties" in schema:
        if schema.get("additionalProperties") is not False:
            raise ValueError(f"{schema.get('title')}: the app knows objects without further keys only")
        required = schema.get("required", [])
        fields = [f"{name}: {_field(field, name in required)}" for name, field in schema["properties"].items()]
        return f"v.strictObject({{ {', '.join(fields)} }})"
    keys = _piped("v.string()", schema.get("propertyNames", {}))
    values = schema.get("additionalProperties", True)
    return f"v.record({keys}, {'v.unknown()' if values is True else _type(values)})"


def _type(schema: dict[str, Any]) -> str:
    """A JSON Schema, as pydantic writes it, in valibot."""
    unknown = set(schema) - _KNOWN
    if unknown:
        raise ValueError(f"no valibot schema for {sorted(unknown)} in {schema}")
    match schema:
        case {"$ref": reference}:
            name = reference.rsplit("/", 1)[-1]
            return str(name[0].lower() + name[1:])
        case {"anyOf": [other, {"type": "null"}]}:
            return f"v.nullable({_type(other)})"
        case {"const": value}:
            return f"v.literal({json.dumps(value)})"
        case {"enum": values}:
            return f"v.picklist({json.dumps(values)})"
        case {"type": "string"}:
            return _piped("v.string()", schema)
        case {"type": "integer"}:
            return _piped("v.number()", schema, "v.safeInteger()")
        case {"type": "number"}:
            return _piped("v.number()", schema, "v.finite()")
        case {"type": "boolean"}:
            return "v.boolean()"
        case {"type": "array", "prefixItems": items}:
            return f"v.strictTuple([{', '.join(map(_type, items))}])"
        case {"type": "array", "items": items}:
            return _piped(f"v.array({_type(items)})", schema)
        case {"type": "object"}:
            return _object(schema)
    raise ValueError(f"no valibot schema for {schema}")


def _field(schema: dict[str, Any], required: bool) -> str:
    if required:
        return _type(schema)
    if "default" not in schema:  # left out of the file where it is empty
        return f"v.exactOptional({_type(schema)})"
    return f"v.optional({_type(schema)}, {json.dumps(schema['default'])})"  # null and {} are as in JavaScript


def _used(schema: Any) -> set[str]:
    """Names of the definitions that a schema refers to."""
    if isinstance(schema, dict):
        own = {schema["$ref"].rsplit("/", 1)[-1]} if "$ref" in schema else set()
        return own.union(*map(_used, schema.values()))
    return set().union(*map(_used, schema)) if isinstance(schema, list) else set()


def _ordered(definitions: dict[str, Any]) -> list[str]:
    """Names of definitions, each after those it refers to."""
    order: list[str] = []

    def add(name: str) -> None:
        for other in sorted(_used(definitions[name])):
            add(other)
        if name not in order:
            order.append(name)

    for name in sorted(definitions):
        add(name)
    return order


def generate() -> str:
    """The TypeScript source (before prettier)."""
    schema = Spec.model_json_schema()
    definitions = schema.pop("$defs")
    lines = [
        "// Written by scripts/app_spec.py from the schema of lentigo.bundle.Spec; do not edit.",
        'import * as v from "valibot";',
        f"/** The newest format that is read. */\nexport const FORMAT = {FORMAT};",
        f"/** First years of the bands of ages. */\nexport const AGES = {list(AGES)};",
    ]
    for name in _ordered(definitions):
        lines.append(f"const {name[0].lower() + name[1:]} = {_type(definitions[name])};")
    lines.append(f"export const specSchema = {_object(schema)};")
    return "\n\n".join(lines) + "\n"


if __name__ == "__main__":
    TARGET.write_text(generate(), encoding="utf-8")
    print(f"wrote {TARGET}; run npm run format in app/")

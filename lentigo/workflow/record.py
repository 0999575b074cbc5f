"""Provenance of results."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lentigo.bundle import Spec
from lentigo.files import write_json
from lentigo.training.record import command_line, hardware, versions
from lentigo.workflow.part import EvaluationData, Part


def made_by(spec: Spec) -> dict[str, Any]:
    """Return command, bundle, hardware (bundles run on the CPU), time in UTC and library versions."""
    return {
        "command": command_line(),
        "bundle": {
            "name": spec.name,
            "version": spec.version,
            "weights": spec.weights,
            "model_sha256": spec.files["model.onnx"],
        },
        "hardware": hardware(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
    }


def write_record(folder: Path, spec: Spec, evaluated: EvaluationData, part: Part, data: Path, seconds: float) -> None:
    """Write ``run.json`` for the report of a bundle that was evaluated on a data set.

    Raises:
        OutputError: the file cannot be written.
    """
    record = made_by(spec) | {
        "name": spec.name,
        "recipe": spec.provenance.recipe.get("name", ""),
        "network": spec.network.name,
        "parameters": spec.network.parameters,
        "data": evaluated.samples.name,
        **({"data_name": evaluated.samples.title} if evaluated.samples.is_own else {}),
        "data_root": str(data),
        "fingerprint": evaluated.fingerprint,
        "groups": evaluated.samples.groups.record,
        "protocol": part.protocol,
        "split_seed": spec.provenance.split_seed,
        "seed": spec.provenance.seed,
        "wall_seconds": round(seconds, 1),
        "labels": [c.record for c in spec.classes],
        "temperature": spec.temperature,
        "evaluated_on": part.description,
        "trained_on": part.trained_on,
        "teacher": evaluated.teacher,
        **({} if evaluated.classes is None else {"classes": dict(evaluated.classes)}),
        **({} if evaluated.lesions is None else {"lesions_by": evaluated.by.record}),
    }
    write_json(folder / "run.json", record)

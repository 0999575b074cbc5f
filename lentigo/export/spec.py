"""Make the specification of a bundle from a run, its graph and its figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lentigo import __version__
from lentigo.bundle import TEST_AT, ExtraData, InputSpec, NetworkSpec, OutputSpec, Provenance, Spec, TeacherData
from lentigo.estimate import Estimate
from lentigo.export.graph import output_shapes
from lentigo.export.provenance import data_domain, data_licence, model_licence, model_name, model_title
from lentigo.export.stages import About, Figures, Graph, Source
from lentigo.imaging import IMAGENET_MEAN, IMAGENET_STD
from lentigo.networks import profile_network


def make_spec(source: Source, graph: Graph, figures: Figures, about: About) -> Spec:
    """Make the content of ``spec.json``, without the checksums of the files."""
    run, record, recipe = source.run, source.run.record, source.run.recipe
    shapes = output_shapes(graph.content)
    cam = shapes.get("cam")
    profile = profile_network(graph.network, recipe.final_size, repeats=1, warmup=0)
    return Spec(
        name=about.name or model_name(run),
        version=about.version,
        title=about.title or model_title(source.training_data, run),
        domain=about.domain or data_domain(source.facts, run),
        classes=run.labels.classes,
        input=InputSpec(size=recipe.final_size, mean=IMAGENET_MEAN, std=IMAGENET_STD),
        outputs=OutputSpec(
            embedding=shapes["embedding"][0],
            cam=None if cam is None else (cam[1], cam[2]),
            atypicality=graph.abstention is not None,
        ),
        network=NetworkSpec(
            name=recipe.network.name, options=recipe.network.options, parameters=profile.parameters, macs=profile.macs
        ),
        weights=graph.weights,
        temperature=source.calibration.temperature or 1.0,
        abstention=graph.abstention,
        conformal=source.calibration.conformal,
        operating_points=source.calibration.points,
        metadata=source.metadata,
        metrics=_metrics(figures),
        provenance=Provenance(
            command=record["command"],
            recipe=recipe.model_dump(mode="json"),
            data=record.get("data_name") or record["data"],
            fingerprint=record["fingerprint"],
            groups=record.get("groups"),
            protocol=record["protocol"],
            split_seed=record["split_seed"],
            seed=record["seed"],
            counts={split: sum(column.values()) for split, column in split_counts(record).items()},
            extra=tuple(ExtraData.model_validate(entry) for entry in record.get("extra", [])),
            taught=tuple(TeacherData.model_validate(entry) for entry in record.get("taught", [])),
            hardware=record["hardware"],
            wall_seconds=record["wall_seconds"],
            created=record["created"],
            lentigo=record.get("versions", {}).get("lentigo", __version__),
            notes=about.notes,
        ),
        licence=about.licence or model_licence(source.training_data),
        data_licence=data_licence(source.training_data),
    )


def _metrics(figures: Figures) -> dict[str, dict[str, Estimate]]:
    """Return defined metrics in the form of ``spec.json``: ``test``, and ``test/<code>`` for each class.

    Besides the overall metrics, ``test`` contains ``ece_before``, ``log_loss_before`` and ``brier_before`` (before
    temperature scaling), ``malignant_auc``, ``malignant_sensitivity_at_specificity_0.90`` and similar. ``coverage`` is
    that of the prediction sets. ``test at <point>`` contains ``sensitivity`` and ``specificity`` of an operating point,
    ``test with metadata`` the figures with age, sex and site, and ``test metadata difference`` their differences.
    """
    metrics, coverage = figures.metrics, figures.coverage
    overall = dict(metrics.overall)
    overall |= {f"{name}_before": value for name, value in metrics.before_temperature.items()}
    if metrics.malignant is not None:
        overall["malignant_auc"] = metrics.malignant.auc
        overall |= {
            f"malignant_sensitivity_at_specificity_{at:.2f}": value
            for at, value in metrics.malignant.sensitivity_at.items()
        }
    found = {"test": overall | {"coverage": coverage.overall}}
    found |= {
        f"test/{code}": {**values, "coverage": coverage.per_class[code]} for code, values in metrics.per_class.items()
    }
    if metrics.malignant is not None:
        found |= {
            TEST_AT + point.name: {"sensitivity": point.sensitivity, "specificity": point.specificity}
            for point in metrics.malignant.points
        }
    if figures.effect is not None:
        found["test with metadata"] = figures.effect.with_metadata
        found["test metadata difference"] = figures.effect.difference
    return {part: {name: value for name, value in values.items() if value.defined} for part, values in found.items()}


def split_counts(record: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Return the number of images by split and class code, without the record's totals."""
    counts: dict[str, dict[str, int]] = record.get("counts", {})
    return {
        split: {code: n for code, n in column.items() if code != "total"}
        for split, column in counts.items()
        if split in ("train", "val", "test")
    }


def class_counts(record: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Return the number of images by class code and split."""
    splits = split_counts(record)
    return {c["code"]: {split: column.get(c["code"], 0) for split, column in splits.items()} for c in record["labels"]}

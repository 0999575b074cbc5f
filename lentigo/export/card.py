"""The model card of a bundle: description, intended use, results and limits, from the run's files.

Sections follow Mitchell et al., *Model Cards for Model Reporting*, FAT* 2019. The card contains measured figures only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lentigo.bundle import Provenance, Spec
from lentigo.data.groups import LEAK, recorded_groups
from lentigo.data.shortfalls import MEND, shortfalls
from lentigo.evaluation import Metrics
from lentigo.evaluation.conformal import SMALLEST, Coverage
from lentigo.evaluation.intervals import Estimate
from lentigo.evaluation.markdown import markdown_table
from lentigo.evaluation.metadata import MetadataEffect
from lentigo.export.mobile import MobileModel
from lentigo.export.provenance import DataFacts
from lentigo.export.quantize import MAX_DROP, Variant
from lentigo.export.spec import class_counts
from lentigo.export.stages import Figures, Graph, Source

_MEANING = {
    "accuracy": ("Accuracy", True),
    "balanced_accuracy": ("Balanced accuracy (mean recall)", True),
    "bacc_ovr": ("BACC, each class against the rest", True),
    "macro_f1": ("Macro F1", True),
    "macro_auc": ("Macro AUC, each class against the rest", False),
    "ece": ("Expected calibration error", True),
    "log_loss": ("Log loss, nats", False),
    "brier": ("Brier score (0 to 2)", False),
    "aurc": ("Area under the risk-coverage curve", False),
}

_DOMAIN = {
    "dermoscopy": "dermoscopy images (taken through a dermatoscope) of one lesion each, in the centre",
    "clinical": "close photographs of one skin lesion each, taken without a dermatoscope",
    "phantom": "rendered phantoms, and nothing else",
    "other": "pictures that are neither dermoscopy nor plain photographs of skin",
    "not stated": "pictures of a kind that was not stated when it was trained",
}


def write_card(spec: Spec, source: Source, graph: Graph, figures: Figures, data_note: str) -> str:
    """Write the model card as Markdown."""
    metrics, facts, counts = figures.metrics, source.facts, class_counts(source.run.record)
    sections = [
        _head(spec, len(graph.content)),
        _use(spec),
        _data(spec, counts, facts, data_note),
        _training(spec),
        _results(spec, metrics),
        _calibration(metrics),
        _operation(spec, metrics),
        _sets(spec, figures.coverage),
        _metadata(spec, figures.effect),
        _abstention(spec),
        _limits(spec, facts, counts),
        _variants(graph.variants),
        _mobile(graph.mobile),
        _origin(spec, any(one is not None and one.non_commercial for one in source.training_data)),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _head(spec: Spec, model_bytes: int) -> str:
    others = spec.labels.languages[2:]
    kinds = {True: "malignant", False: "benign", None: "not stated"}
    classes = [
        [f"`{c.code}`", c.en, c.zh, *(c.names.get(language, "") for language in others), kinds[c.malignant]]
        for c in spec.classes
    ]
    outputs = [f"`logits` (N, {len(spec.classes)})", f"`embedding` (N, {spec.outputs.embedding})"]
    if spec.outputs.cam is not None:
        height, width = spec.outputs.cam
        outputs.append(f"`cam` (N, {len(spec.classes)}, {height}, {width}), exact Grad-CAM of every class")
    if spec.outputs.atypicality:
        outputs.append("`atypicality` (N,), the out-of-distribution score (1 is the median of the training images)")
    size = spec.input.size
    lines = [
        f"# {spec.title}",
        "**Research use only. Not a medical device: it makes no diagnosis and must not guide care.**",
        f"`{spec.name}`, version {spec.version}: classifies {_DOMAIN[spec.domain]}.",
        "## The model",
        f"- Network: `{spec.network.name}`{_options(spec)}, {spec.network.parameters:,} parameters"
        + (
            f", {spec.network.macs / 1e6:,.1f} M multiply-accumulates per image"
            if spec.network.macs is not None
            else ""
        ),
        (
            f"- Input: RGB, resized to {size} x {size} px (antialiased bilinear), normalised with mean"
            f" {_triple(spec.input.mean)} and standard deviation {_triple(spec.input.std)}"
        ),
        f"- Outputs: {'; '.join(outputs)}",
        (
            f"- File: `model.onnx`, {model_bytes / 1e6:.2f} MB, weights {spec.weights}; runs in ONNX Runtime and in"
            " browsers, without torch"
        ),
    ]
    if spec.outputs.cam is None:
        lines.append("- No `cam`: without a pooled linear head, Grad-CAM has no closed form")
    body = "\n\n".join(lines[:4]) + "\n\n" + "\n".join(lines[4:])
    return body + "\n\n" + _table(["Code", "English", "中文", *others, "Kind"], classes, "l")


def _use(spec: Spec) -> str:
    return f"""## Intended use

For research on small classifiers, their calibration and their deployment, on {_DOMAIN[spec.domain]}; for teaching;
and as a starting point for models trained on other data.

Not for diagnosis, triage, screening, self-examination or any decision about a person's health. Not for images of
another kind, for lesions of other classes (every image gets one of the {len(spec.classes)} classes), or for
populations that differ from the data."""


def _data(spec: Spec, counts: Mapping[str, Mapping[str, int]], facts: DataFacts | None, note: str) -> str:
    origin = spec.provenance
    named = (
        f"{facts.title} ({facts.source}); licence: {facts.licence}."
        if facts
        else f"`{origin.data}`, the user's own data set."
    )
    splits = [split for split in ("train", "val", "test") if any(split in row for row in counts.values())]
    rows = [[f"`{code}`", *(f"{row.get(split, 0):,}" for split in splits)] for code, row in counts.items()]
    rows.append(["all", *(f"{sum(row.get(split, 0) for row in counts.values()):,}" for split in splits)])
    protocol = _protocol(origin)
    chosen = "" if origin.recipe.get("swa") or origin.recipe.get("monitor") == "last" else "the checkpoint, "
    limits = " and the thresholds" if spec.operating_points or spec.conformal or spec.abstention else ""
    parts = [
        "## Data",
        named + (f" {note}" if note else ""),
        (
            f"Split protocol `{origin.protocol}` ({protocol}), seed {origin.split_seed}. Fingerprint"
            f" `{origin.fingerprint[:16]}`. Training used only `train`; `val` determined {chosen}the"
            f" temperature{limits}; `test` is used only for the figures below."
        ),
        _table(["Class", *splits], rows, "lr"),
    ]
    return "\n\n".join(parts)


def _protocol(origin: Provenance) -> str:
    """Describe the groups that the split keeps apart."""
    source = recorded_groups(origin.model_dump())
    if origin.protocol == "official":
        text = "the split that came with the data"
    elif origin.protocol in ("lesion", "patient") and source.known:
        text = (
            f"grouped by {source.unit} ({source}): no {source.unit} has images on two sides, and classes are stratified"
        )
    elif origin.protocol == "image" and source.known:
        text = (
            f"random images: other photographs of a test {source.unit} may be in training, so the figures are too"
            " high for new ones"
        )
    else:
        text = "random images" if origin.protocol in ("image", "lesion", "patient") else origin.protocol
    return text if source.known else f"{text}; patients unknown: {LEAK}"


def _training(spec: Spec) -> str:
    origin = spec.provenance
    lines = [f"- `{key}`: {value}" for key, value in _flat(origin.recipe) if key not in ("name", "description")]
    description = str(origin.recipe.get("description") or "")
    head = f"## Training\n\nRecipe `{origin.recipe.get('name', spec.name)}`{': ' + description if description else ''}"
    return f"{head}\n\n<details><summary>The whole recipe</summary>\n\n" + "\n".join(lines) + "\n\n</details>"


def _results(spec: Spec, metrics: Metrics) -> str:
    source = recorded_groups(spec.provenance.model_dump())
    unit = "images" if metrics.groups == metrics.images else source.units
    among = f" ({metrics.groups:,} {source.units})" if source.known else ""
    rows = [[title, _text(metrics.overall[name], percent)] for name, (title, percent) in _MEANING.items()]
    if metrics.malignant is not None:
        rows.append(["AUC, malignant against benign", _text(metrics.malignant.auc, False)])
        for specificity, found in metrics.malignant.sensitivity_at.items():
            rows.append([f"Malignant sensitivity at {100 * specificity:g} % specificity", _text(found, True)])
    classes = [
        [f"`{code}`", f"{metrics.support[code]:,}", *(_text(values[name], name != "auc") for name in _PER_CLASS)]
        for code, values in metrics.per_class.items()
    ]
    weights = ""
    if spec.weights != "fp32":
        weights = (
            f" They were measured with float32 weights; what {spec.weights} weights change is in the table of stored"
            " weights below."
        )
    return "\n\n".join(
        [
            "## Results",
            (
                f"On the {metrics.images:,} test images{among}, protocol `{spec.provenance.protocol}`, after"
                f" temperature scaling. In brackets: 95 % intervals ({metrics.resamples:,} bootstrap resamples of"
                f" {unit}). Figures are in percent, unless stated otherwise.{weights}"
            ),
            _table(["Measure", "Value"], rows, "lr"),
            _table(["Class", "Images", "Sensitivity", "Specificity", "Precision", "F1", "AUC"], classes, "lr"),
        ]
    )


_PER_CLASS = ("sensitivity", "specificity", "precision", "f1", "auc")


def _calibration(metrics: Metrics) -> str:
    rows = []
    for name, before in metrics.before_temperature.items():
        title, percent = _MEANING[name]
        rows.append([title, _text(before, percent), _text(metrics.overall[name], percent)])
    return (
        f"## Calibration\n\nProbabilities are `softmax(logits / {metrics.temperature:.4g})`; the temperature was fitted"
        " on the validation part (Guo et al., ICML 2017). On the test part:\n\n"
        + _table(["Measure", "Before", "After"], rows, "lr")
    )


def _operation(spec: Spec, metrics: Metrics) -> str:
    if not spec.operating_points or metrics.malignant is None:
        return ""
    rows = [
        [
            point.name.replace("_", " ") + " %",
            f"{point.threshold:.4f}",
            f"{point.sensitivity:.1%} / {point.specificity:.1%}",
            f"{_text(test.sensitivity, True)} / {_text(test.specificity, True)}",
            f"{_text(test.ppv, True)} / {_text(test.npv, True)}",
        ]
        for point, test in zip(spec.operating_points, metrics.malignant.points, strict=True)
    ]
    head = ["Aim", "Threshold", "Validation: sensitivity / specificity", "Test: sensitivity / specificity"]
    malignant = ", ".join(f"`{c.code}`" for c in spec.classes if c.malignant)
    return (
        f"## Operating points\n\nAn image is flagged where the summed probability of {malignant} reaches the threshold."
        " Thresholds were chosen on the validation part; the test part estimates their performance on similar"
        f" images. PPV and NPV are for a prevalence of {100 * metrics.malignant.prevalence:g} % malignant lesions,"
        " by Bayes' rule; another prevalence gives other values.\n\n" + _table([*head, "Test: PPV / NPV"], rows, "lr")
    )


def _sets(spec: Spec, coverage: Coverage) -> str:
    if spec.conformal is None:
        return ""
    rows = [
        [f"`{code}`", f"{1 - spec.conformal.quantiles[code]:.4f}", _text(found, True)]
        for code, found in coverage.per_class.items()
    ]
    rows.append(["all", "", _text(coverage.overall, True)])
    shared = (
        f" {', '.join(f'`{c}`' for c in coverage.pooled)} have fewer than {SMALLEST} and share one."
        if coverage.pooled
        else ""
    )
    return (
        "## Prediction sets\n\nA prediction set contains every class whose probability reaches the class's threshold,"
        f" so that it contains the true class {coverage.aim:.0%} of the time (split-conformal, one quantile per class"
        " on its validation images; Sadinle, Lei and Wasserman, JASA 2019). A set may therefore contain a rare class,"
        f" whose threshold is low, and omit a more probable one.{shared} On the test part a set has"
        f" {coverage.size:.2f} classes on average; {coverage.single:.0%} have one, {coverage.empty:.0%} none.\n\n"
        + _table(["Class", "Threshold", "Test: sets that contain it, %"], rows, "lr")
    )


def _metadata(spec: Spec, effect: MetadataEffect | None) -> str:
    if spec.metadata is None or effect is None:
        return ""
    units = recorded_groups(spec.provenance.model_dump()).units
    known = ", ".join(f"{name} ({count:,} {units})" for name, count in spec.metadata.groups.items())
    rows = []
    for name, difference in effect.difference.items():
        title, percent = _MEANING.get(name, ("AUC, malignant against benign", False))
        rows.append([title, _text(effect.with_metadata[name], percent), _text(difference, percent)])
    return (
        "## Age, sex and site\n\nThese values are optional. Each multiplies the calibrated probabilities by the square"
        f" root of P(value | class) / P(value) in the training part: {known}. A missing value changes nothing."
        " Prediction sets and abstention are those of the image alone. An operating point is reached if the image"
        " alone reaches it, or both together: these values can raise concern and do not lower it. Of the"
        f" {effect.images:,} test images {effect.known:,} have a value:\n\n"
        + _table(["Measure", "With them", "Difference from the image alone"], rows, "lr")
    )


def _abstention(spec: Spec) -> str:
    rule = spec.abstention
    if rule is None:
        return (
            "## Abstention\n\nThe model has no out-of-distribution score. Images that are too dark,"
            ' too bright, blurred or empty are answered "can\'t tell".'
        )
    rows = [
        [name, f"{found.images:,}", f"{found.fpr:.1%}", f"{found.auroc:.3f}"] for name, found in rule.measured.items()
    ]
    return (
        f'## Abstention\n\nThe model answers "can\'t tell" where `atypicality` is above {rule.threshold:.4g}'
        f" ({rule.score}, on the embedding; {rule.accepted:.0%} of the {rule.images:,} validation images are below),"
        " and where the image is too dark, too bright, blurred or empty. Fraction of synthetic images of other"
        " things that the score accepts:\n\n" + _table(["Synthetic images", "Number", "Accepted", "AUROC"], rows, "lr")
    )


def _limits(spec: Spec, facts: DataFacts | None, counts: Mapping[str, Mapping[str, int]]) -> str:
    points = (
        [facts.bias]
        if facts
        else ["The gaps of the data set are not known: state the people, devices and places that it comes from."]
    )
    if spec.provenance.protocol == "image" or not recorded_groups(spec.provenance.model_dump()).known:
        points.append(
            "Photographs of one lesion may be in both training and test; then the figures are too high for new lesions."
        )
    small = shortfalls(counts)
    points += [f"{text[0].upper()}{text[1:]}." for text in small]
    if small:
        points.append(f"For these: {MEND}.")
    if spec.domain == "phantom":
        points.append("Trained on rendered pictures: its answers about a photograph mean nothing.")
    points += [
        "Every answer is one of the classes above, whatever the image shows; other lesions, healthy skin and other"
        " objects get a class " + ("too, except where the model abstains." if spec.abstention is not None else "too."),
        "Skin tone, age, sex, body site and device change the accuracy; intervals on small classes are wide.",
        (
            "Heat maps show the areas that raised a class's score, not the reason, and not the border of a lesion."
            if spec.outputs.cam is not None
            else "The model gives no heat maps."
        ),
    ]
    return "## Limitations\n\n" + "\n".join(f"- {point}" for point in points)


def _variants(variants: Sequence[Variant]) -> str:
    if not variants:
        return ""
    reference = next((v for v in variants if v.weights == "fp32"), variants[0])
    rows = [
        [
            v.weights,
            f"{len(v.content) / 1e6:.2f} MB",
            f"{v.balanced_accuracy:.2%}",
            f"{100 * (v.balanced_accuracy - reference.balanced_accuracy):+.2f}".replace("-", "−"),
            f"{v.latency_ms:.1f} ms",
            "passes" if reference.balanced_accuracy - v.balanced_accuracy <= MAX_DROP + 1e-12 else "refused",
        ]
        for v in variants
    ]
    return (
        f"## Stored weights\n\nOn the {reference.images:,} validation images. A variant may lose at most"
        f" {100 * MAX_DROP:g} points of balanced accuracy. Latency: median of one image on one thread, on the"
        " exporting machine.\n\n"
        + _table(["Weights", "Size", "Balanced accuracy", "Points", "Latency", "Gate"], rows, "lrrrrl")
    )


def _mobile(models: Sequence[MobileModel]) -> str:
    if not models:
        return ""
    rows = [
        [
            one.format,
            f"`{one.file}`",
            f"{len(one.content) / 1e6:.2f} MB",
            "not run here" if one.latency_ms is None else f"{one.latency_ms:.1f} ms",
            "no" if one.latency_ms is None else "yes",
        ]
        for one in models
    ]
    return (
        "## Formats for phones\n\nIn float32, for one image at a time: logits, embedding and class-activation maps,"
        " without the OOD score. Latency: median of one image on one thread, on the exporting machine.\n\n"
        + _table(["Format", "File", "Size", "Latency", "Gives the golden answers"], rows, "llrrl")
    )


def _origin(spec: Spec, non_commercial: bool) -> str:
    origin = spec.provenance
    lines = [
        f"- Command: `{origin.command}`",
        f"- Hardware: {origin.hardware}; wall time {_duration(origin.wall_seconds)}",
        f"- Seeds: split {origin.split_seed}, training {origin.seed}",
        f"- Made {origin.created} with lentigo {origin.lentigo}",
        f"- Licence of the model: {spec.licence}. Licence of the data: {spec.data_licence}",
    ]
    if non_commercial:
        lines.append(
            "- The data's licence allows non-commercial use only and requires attribution; assume that it also"
            " applies to the model"
        )
    if origin.notes:
        lines.append(f"- Notes: {origin.notes}")
    return "## How it was made\n\n" + "\n".join(lines)


def _options(spec: Spec) -> str:
    chosen = ", ".join(f"{key}={value}" for key, value in spec.network.options.items())
    return f" ({chosen})" if chosen else ""


def _triple(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{v:g}" for v in values) + ")"


def _text(value: Estimate, percent: bool) -> str:
    return value.text(percent=percent, digits=1 if percent else 3)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _flat(node: Mapping[str, object], prefix: str = "") -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    for key, value in node.items():
        if isinstance(value, Mapping) and value:
            rows += _flat(value, f"{prefix}{key}.")
        else:
            rows.append((prefix + key, value))
    return rows


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
    return "\n".join(markdown_table(head, rows, align))

"""A table's result as a page of Markdown, in figures and in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lentigo.evaluation.markdown import markdown_table
from lentigo.reproduce.measure import PAIRED
from lentigo.reproduce.result import PRINTED, spread_of_seeds

_NAMES = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "bacc_ovr": "BACC (one against the rest)"}
_PROBABILITY = {
    "macro_auc": "AUC, mean over the classes",
    "malignant_auc": "AUC, malignant against benign",
    "malignant_sensitivity": "malignant sensitivity at 90 % specificity",
    "ece": "expected calibration error",
}
_PAIRED = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "bacc_ovr": "BACC, one against the rest",
    "macro_auc": _PROBABILITY["macro_auc"],
}
_ELSEWHERE = {
    "balanced_accuracy": "balanced accuracy",
    "macro_auc": _PROBABILITY["macro_auc"],
    "malignant_auc": _PROBABILITY["malignant_auc"],
}
_STARTS = {"imagenet": "ImageNet", "scratch": "scratch", None: "–"}


def to_markdown(result: Mapping[str, Any], figures: Sequence[str]) -> str:
    """The page.

    Args:
        result: of ``build_result``.
        figures: file names of the plots beside it.
    """
    rows = [row for row in result["rows"] if "class" not in row]
    titles = {row["slug"]: row["name"] for row in rows}
    budget, test = result["budget"], result["test"]
    parts = [
        f"# {result['table']}, `{result['protocol']}` protocol: {result['title'].lower()}",
        "",
        f"{result['paper']}, on {result['data']}: {test['images']:,} {result['part']} images in {test['groups']:,} groups. "
        f"{_seeds(result)} Budget `{budget['name']}`, the same for every row{_but(result)}"
        + (
            f": {', '.join(f'{key} = {_short(value)}' for key, value in budget['values'].items())}."
            if budget["values"]
            else ": as printed."
        ),
        *_marks(result, rows),
        "",
        *_classes_table(result),
        *_main_table(rows),
        "",
        *_interval_note(result),
        "",
        *_probability_table(rows),
        *_cautions(result, rows),
        "",
        *_order_table(result, titles),
        "## Against the reference",
        "",
        *_pairs_table(result, titles),
        "",
        *_elsewhere(result, titles),
        "## Recall by class",
        "",
        *_recall_table(result, rows),
        "",
        *(["## Cost", "", *_cost_table(rows)] if result["part"] == "test" else ["## What each was to bring", "", *_ideas_table(rows)]),
        "",
        *(f"![{name}]({name})" for name in figures),
        "",
        "## Where this comes from",
        "",
        *_provenance(result, rows),
        "",
    ]
    return "\n".join(parts)


def _order_table(result: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    """How far the printed order of the rows holds, and in how many rows the printed figure lies inside the measured interval."""

    def listed(pairs: Sequence[Sequence[str]]) -> str:
        return f"{len(pairs)}" + (f": {'; '.join(f'{names[a]} above {names[b]}' for a, b in pairs)}" if pairs else "")

    lines = []
    for metric in PRINTED:
        measured = [row for row in result["rows"] if "class" not in row and row["measured"]]
        inside = [value for row in measured if (value := row["printed_inside"].get(metric)) is not None]
        order = result["order"][metric]
        if order is not None:
            ranks = (", ".join(names[slug] for slug in order[key]) for key in ("printed", "measured"))
            pairs = (
                listed(order["hold"]),
                listed(order["reversed"]),
                str(len(order["inside_the_noise"])),
                str(order["pairs_of_mixed_start"]),
            )
            lines.append([_NAMES[metric], *ranks, *pairs, f"{sum(inside)} of {len(inside)}" if inside else "–"])
    if not lines:
        return []
    head = [
        "by",
        "order printed",
        "order measured",
        "pairs that hold",
        "pairs reversed",
        "not told apart",
        "mixed start",
        "printed inside interval",
    ]
    return [
        "## Order of the rows",
        "",
        *markdown_table(head, lines, "lll"),
        "",
        "Pairs that the paper tells apart: the printed better first.",
        "",
    ]


def _cautions(result: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What limits the figures, where it applies."""
    whose = "paper's" if any(row["printed"] for row in rows) else "recipe's"
    cautions = {
        "Judged on validation images, which also set each run's temperature and chose its epoch: the level is too good, and the "
        "calibration error more so. No test image was looked at.": result["part"] == "validation",
        f"Training was shorter and on smaller images than the {whose}: read the order of the rows, not their level.": (
            result["budget"]["name"] != "paper"
        ),
        "Rows start from ImageNet weights or from scratch; differences between the two kinds are not the networks' own.": result[
            "mixed_start"
        ],
        "Not every run is there yet.": len(result["seeds"]) > 1 and not result["complete"],
    }
    return [f"- {text}" for text, holds in cautions.items() if holds]


def _but(result: Mapping[str, Any]) -> str:
    return " but for what a row says it changes" if result["part"] == "validation" else ""


def _seeds(result: Mapping[str, Any]) -> str:
    seeds = result["seeds"]
    return (
        f"Seeds {', '.join(map(str, seeds))}."
        if len(seeds) > 1
        else f"One seed ({seeds[0]}): the spread between seeds is not in the intervals."
    )


def _marks(result: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    marks = []
    if result["mixed_start"]:
        scratch = [row["name"] for row in rows if row["start"] == "scratch"]
        marks += [
            "",
            f"**Mixed starts**: {', '.join(scratch)} started from scratch, the others from ImageNet weights. Compare like with like.",
        ]
    for row in rows:
        if row["missing"]:
            marks += ["", f"**{row['name']}**: {'; '.join(row['missing'])}."]
    return marks


def _main_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    head = [
        "row",
        "start",
        "seeds",
        "accuracy, printed",
        "accuracy",
        "BACC, printed",
        "balanced accuracy",
        "BACC, one against the rest",
        "macro F1",
    ]
    head.append("sd over seeds (accuracy, balanced)")
    lines = []
    for row in rows:
        measured, printed = row["measured"], row["printed"]
        cells = [
            row["name"],
            _STARTS.get(row["start"], str(row["start"])),
            ", ".join(map(str, row["seeds"])) or "–",
            _number(printed.get("accuracy")),
        ]
        cells.append(_estimate(measured and measured["accuracy"]))
        cells += [
            _number(printed.get("bacc")),
            *(_estimate(measured and measured[m]) for m in ("balanced_accuracy", "bacc_ovr", "macro_f1")),
        ]
        spread = [spread_of_seeds(row, m) for m in ("accuracy", "balanced_accuracy")] if measured else [None]
        cells.append(", ".join("–" if s is None else f"{s * 100:.1f}" for s in spread))
        lines.append(cells)
    return markdown_table(head, lines, "llr")


def _probability_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    shown = [row for row in rows if row["measured"] and row.get("probability")]
    names = [name for name in _PROBABILITY if any(name in row["probability"] for row in shown)]
    if not names:
        return []
    lines = [[row["name"], *(_estimate(row["probability"].get(name)) for name in names)] for row in shown]
    return [
        *markdown_table(["row", *(_PROBABILITY[name] for name in names)], lines),
        "",
        "Percent; AUC is area under the ROC curve, times 100. Probabilities after a temperature fitted on validation, run by run.",
        "",
    ]


def _classes_table(result: Mapping[str, Any]) -> list[str]:
    rows = [row for row in result["rows"] if "class" in row]
    if not rows:
        return []
    head = ["class"]
    for title in ("P", "R", "F1"):
        head += [f"{title}, printed", title]
    lines = []
    for row in rows:
        cells = [f"{row['name']} (`{row['class']}`)"]
        for key in ("precision", "sensitivity", "f1"):
            cells += [f"{row['printed'][key]:.2f}", _estimate(row["measured"] and row["measured"][key], percent=False)]
        lines.append(cells)
    return [*markdown_table(head, lines), ""]


def _interval_note(result: Mapping[str, Any]) -> list[str]:
    interval = result["interval"]
    unit = "lesions or patients" if result["test"]["grouped"] else "images"
    return [
        f"Percent. In brackets 95 % intervals: hierarchical bootstrap over {unit} and seeds, {interval['resamples']:,} resamples, "
        f"seed {interval['seed']}. `balanced accuracy` is the mean recall; `BACC, one against the rest` is the paper's equation 11 "
        "averaged over the classes. The printed BACC stands beside both and belongs to neither for certain."
    ]


def _pairs_table(result: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    if not result["pairs"]:
        return ["No other row to compare with the reference."]
    head = [
        "row − " + names[result["reference"]],
        "seeds",
        *(cell for metric in PAIRED for cell in (_PAIRED[metric], "p (Holm)")),
        "McNemar p, each seed",
    ]
    lines = []
    for pair in result["pairs"]:
        cells = [names[pair["second"]] + (" (mixed start)" if pair["mixed_start"] else ""), ", ".join(map(str, pair["seeds"]))]
        for metric in PAIRED:
            d = pair["differences"][metric]
            cells += [_estimate(d, signed=True) + (" **\\***" if d["real"] else ""), f"{_p(d['p'])} ({_p(d['p_holm'])})"]
        cells.append(", ".join(_p(p) for p in pair["mcnemar"].values()))
        lines.append(cells)
    return [
        *markdown_table(head, lines),
        "",
        "Points. The same lesions and seeds on both sides. **\\***: the corrected p is below 0.05 and the interval leaves out zero. "
        "McNemar's test takes images as independent and holds for one trained network each.",
    ]


def _elsewhere(result: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    if not result["elsewhere"]:
        return []
    lines = ["## On other collections", ""]
    reference = names.get(result["reference"], "")
    for one in result["elsewhere"]:
        differences = {pair["second"]: pair["differences"] for pair in one["pairs"]}
        head = ["row", *(cell for metric in _ELSEWHERE for cell in (_ELSEWHERE[metric], f"− {reference}, p (Holm)"))]
        rows = []
        for slug, figures in one["rows"].items():
            cells = [names[slug]]
            for metric in _ELSEWHERE:
                d = differences.get(slug, {}).get(metric)
                mark = " **\\***" if d and d["real"] else ""
                cells += [_estimate(figures[metric]), f"{_estimate(d, signed=True)}{mark}, {_p(d['p_holm'])}" if d else "–"]
            rows.append(cells)
        learnt = [names[slug] for slug in one["learnt_from_it"]]
        lines += [
            f"**{one['data']}**: {one['images']:,} images of the classes {', '.join(one['classes'])} in {one['groups']:,} groups, which "
            "none of these rows has learnt from, without its published test part. Answers of other classes count as wrong."
            + (f" Left out, since they have learnt from it: {', '.join(learnt)}." if learnt else ""),
            "",
            *markdown_table(head, rows),
            "",
        ]
    return lines


def _recall_table(result: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    present = [row for row in rows if row["measured"]]
    codes = list(present[0]["per_class"])
    rare = {one["class"] for one in result["recall_of_rare_classes"]}
    lines = [[row["name"], *(_estimate(row["per_class"][code]["sensitivity"]) for code in codes)] for row in present]
    table = markdown_table(["row", *(f"**{code}**" if code in rare else code for code in codes)], lines)
    if not rare:
        return table
    names = {row["slug"]: row["name"] for row in rows}
    classes = sorted(rare)
    differences: dict[str, dict[str, str]] = {}
    for one in result["recall_of_rare_classes"]:
        differences.setdefault(one["slug"], {})[one["class"]] = _estimate(one, signed=True)
    lines = [[names[slug], *(values.get(code, "–") for code in classes)] for slug, values in differences.items()]
    head = [f"rare classes, row − {names[result['reference']]}", *classes]
    return [*table, "", *markdown_table(head, lines)]


def _cost_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    head = [
        "row",
        "parameters",
        "printed, M",
        "counted as printed, M",
        "MACs, M",
        "ONNX file, MB",
        "one image on one CPU thread, ms",
        "training, min",
        "notes",
    ]
    lines = []
    for row in rows:
        printed, paper, cost = row["printed"].get("parameters"), row.get("parameters_as_printed"), row.get("cost")
        as_printed = "–" if paper is None else f"{paper['parameters'] / 1e6:.2f} ({paper['classes']} classes)"
        measured = [f"{cost['macs'] / 1e6:,.1f}", f"{cost['bytes'] / 1e6:.1f}", f"{cost['latency_ms']:.1f}"] if cost else ["–"] * 3
        minutes = f"{row['wall_seconds'] / 60:.0f}" if row["measured"] else "–"
        parameters = f"{row['parameters']:,}" if "parameters" in row else "–"
        lines.append([row["name"], parameters, _number(printed, 2), as_printed, *measured, minutes, row["notes"]])
    sizes = {row["cost"]["size"] for row in rows if row.get("cost")}
    machines = sorted({row["cost"]["hardware"] for row in rows if row.get("cost")})
    note = (
        f"Multiply-accumulates and latency at {', '.join(map(str, sizes))} px; latency in ONNX Runtime on {'; '.join(machines)}, median."
        if sizes
        else ""
    )
    if busy := [row["name"] for row in rows if row.get("cost") and row["cost"]["busy"]]:
        note += f" The machine had other work while these were timed, so do not compare them: {', '.join(busy)}."
    return [*markdown_table(head, lines), "", f"{note} Training: wall time of all seeds together.".strip()]


def _ideas_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [[row["name"], row["notes"], f"{row['wall_seconds'] / 60:.0f}" if row["measured"] else "–"] for row in rows]
    return markdown_table(["idea", "what for", "training of all seeds, min"], lines, "llr")


def _provenance(result: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    origin = result["provenance"]
    split = origin["split"]
    counts = "; ".join(f"{name} {column['total']:,}" for name, column in split["counts"].items() if name != "total")
    weights = sorted({row["weights"]["source"] for row in rows if row.get("weights")})
    return [
        f"- command: `{origin['command']}`",
        f"- data: {result['data']}, fingerprint `{origin['fingerprint']}`",
        f"- split: `{split['protocol']}`, seed {split['split_seed']}; {counts}",
        f"- recipe `{result['budget']['recipe']}`, budget `{result['budget']['name']}`"
        + (f"; ImageNet weights: {', '.join(weights)}" if weights else ""),
        f"- hardware: {'; '.join(origin['hardware'])}",
        f"- wall time of all runs: {origin['wall_seconds'] / 3600:.1f} h, {origin['runs_created'][0]} to {origin['runs_created'][1]}",
        f"- versions: {', '.join(f'{k} {v}' for k, v in origin['versions'].items())}",
    ]


def _estimate(e: Mapping[str, Any] | None, *, percent: bool = True, signed: bool = False) -> str:
    if not e or e["value"] is None:
        return "–"
    scale, digits, sign = (100, 1, "+" if signed else "") if percent else (1, 2, "")

    def text(value: float) -> str:
        return f"{round(value * scale, digits) + 0.0:{sign}.{digits}f}".replace("-", "−")

    return text(e["value"]) + (f" ({text(e['low'])} to {text(e['high'])})" if e["low"] is not None else "")


def show(share: float) -> str:
    """A share as percent with one decimal."""
    return f"{share * 100:.1f}"


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def _short(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(v, dict) and "size" in v for v in value):
        return " then ".join(f"{v['size']} px" + (f" from epoch {v['from_epoch'] + 1}" if v["from_epoch"] else "") for v in value)
    return f"{value:g}" if isinstance(value, float) else str(value)

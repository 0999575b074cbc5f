"""Speed of inference on this machine, against the field's usual ways, in one run.

    python benchmarks/inference.py                     # small: 600 pictures, prints the tables
    python benchmarks/inference.py --images 5000 --write   # and puts them into benchmarks/README.md
    python benchmarks/inference.py --stream 20000      # also the memory of a long stream
    python benchmarks/inference.py --work folder       # keeps what is measured there; the same command goes on with it

Every case runs in its own process, in several alternating rounds, and its best round counts, so that a disturbance
favours no case. CPU time per image is given beside the rate, because it hardly depends on other load. Needs the make
wing. Weights are random: speed does not depend on them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

SIZE, CLASSES, BATCH = 224, 7, 32
CODES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- inference:begin -->", "<!-- inference:end -->"
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

Case = Callable[[Path], dict[str, Any]]


# What is measured: a folder of pictures


@contextmanager
def measured(found: dict[str, Any], images: int) -> Iterator[None]:
    """Fill in rate, CPU time (workers included) and peak memory of the block."""
    wall, cpu = time.perf_counter(), cpu_seconds()
    yield
    wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
    workers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    found |= {"rate": images / wall, "cpu": 1000 * cpu / images, "memory": peak_memory(), "worker_memory": workers}


def peak_memory() -> float:
    """Largest resident size of this process so far, in MiB."""
    status = Path("/proc/self/status")
    if status.is_file():  # ru_maxrss would count the parent before exec
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def cpu_seconds() -> float:
    t = os.times()
    return t.user + t.system + t.children_user + t.children_system


def pictures(work: Path) -> list[Path]:
    return sorted((work / "pictures").iterdir())


def lentigo_folder(work: Path, *, fast: bool = False) -> dict[str, Any]:
    from lentigo.inference import load, predict_paths

    classifier = load(work / "caco", threads=1, batch=8, maps=False)  # as the command line does
    found: dict[str, Any] = {}
    with measured(found, len(pictures(work))), tempfile.TemporaryDirectory() as folder:
        predict_paths(classifier, work / "pictures", out=Path(folder) / "out.csv", progress=False, fast_decode=fast)
    return found


def lentigo_fast(work: Path) -> dict[str, Any]:
    return lentigo_folder(work, fast=True)


def torch_folder(work: Path, *, compiled: bool = False) -> dict[str, Any]:
    """(a) and (b): torchvision transforms, a DataLoader with a worker a core, the same network in PyTorch."""
    import torch
    from torch.utils.data import DataLoader
    from torchvision.transforms import v2

    from lentigo.networks import create_network

    network: Any = create_network("mobilenetv3_small_caco", classes=CLASSES).eval()
    if compiled:
        network = torch.compile(network, dynamic=False)
    transform = v2.Compose(
        [
            v2.ToImage(),
            v2.Resize((SIZE, SIZE), antialias=True),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    paths = pictures(work)
    paths = paths[: len(paths) // BATCH * BATCH]  # whole batches: torch.compile would compile again for the last one
    loader = DataLoader(Pictures(paths, transform), batch_size=BATCH, num_workers=CORES)
    found: dict[str, Any] = {}
    with torch.inference_mode():
        network(torch.zeros(BATCH, 3, SIZE, SIZE)).softmax(1)  # compiled before the clock starts
        with measured(found, len(paths)):
            for batch in loader:
                network(batch).softmax(1).tolist()
            del loader
    return found


class Pictures:
    """A map-style data set of pictures on disk."""

    def __init__(self, paths: list[Path], transform: Any) -> None:
        self.paths, self.transform = paths, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Any:
        from PIL import Image

        with Image.open(self.paths[index]) as image:
            return self.transform(image.convert("RGB"))


def torch_compiled(work: Path) -> dict[str, Any]:
    return torch_folder(work, compiled=True)


def timm_folder(work: Path) -> dict[str, Any]:
    """(c): what timm's inference.py does: its data set, its loader, its MobileNetV3-Small."""
    import timm
    import torch
    from timm.data.readers.img_extensions import add_img_extensions

    add_img_extensions(".webp")  # it knows PNG and JPEG alone
    model = timm.create_model("mobilenetv3_small_100", num_classes=CLASSES).eval()
    config = timm.data.resolve_data_config({}, model=model)
    data = timm.data.create_dataset("", root=str(work / "pictures"), class_map="")
    loader = timm.data.create_loader(
        data, batch_size=BATCH, use_prefetcher=False, num_workers=CORES, device=torch.device("cpu"), **config
    )
    found: dict[str, Any] = {}
    with torch.inference_mode():
        model(torch.zeros(BATCH, 3, SIZE, SIZE))
        with measured(found, len(data)):
            for batch, _ in loader:
                model(batch).softmax(1).topk(5)
            del loader
    return found


def plain_onnx_folder(work: Path) -> dict[str, Any]:
    """(d): the loop that one writes first: Pillow, NumPy, ONNX Runtime on all cores, one image at a time."""
    session = plain_session(work / "se.onnx", None)
    found: dict[str, Any] = {}
    with measured(found, len(pictures(work))):
        for path in pictures(work):
            plain_answer(session, path)
    return found


def decode_alone(work: Path, fast: bool = False) -> dict[str, Any]:
    """(e): decode and resize on all cores, nothing else: the physical limit of reading."""
    from lentigo.imaging import load

    def read(path: Path) -> int:
        return len(load(path, SIZE, fast=fast))

    found: dict[str, Any] = {}
    with measured(found, len(pictures(work))), ThreadPoolExecutor(CORES) as pool:
        for _ in pool.map(read, pictures(work)):
            pass
    return found


def decode_fast(work: Path) -> dict[str, Any]:
    """The same as `--fast-decode` does it."""
    return decode_alone(work, fast=True)


def network_alone(work: Path) -> dict[str, Any]:
    """The network and nothing else, as the stream runs it: a thread a core, small batches."""
    import numpy as np

    from lentigo.inference import load

    classifier = load(work / "caco", threads=1, batch=8, maps=False)
    image = np.random.default_rng(0).normal(size=(8, 3, SIZE, SIZE)).astype(np.float32)
    rounds = max(1, len(pictures(work)) // 8)
    found: dict[str, Any] = {}
    with measured(found, 8 * rounds), ThreadPoolExecutor(CORES) as pool:
        for _ in pool.map(lambda _: classifier.run_normalised(image).logits.shape, range(rounds)):
            pass
    return found


FOLDER: dict[str, tuple[str, Case]] = {
    "lentigo": ("**lentigo** `predict`, MobileNetV3-CaCo", lentigo_folder),
    "lentigo_fast": ("**lentigo** `predict --fast-decode`", lentigo_fast),
    "eager": ("(a) PyTorch eager + torchvision + DataLoader, same network", torch_folder),
    "compiled": ("(b) the same in `torch.compile` (compiling not counted)", torch_compiled),
    "timm": ("(c) timm's own loader and MobileNetV3-Small", timm_folder),
    "plain": ("(d) plain ONNX Runtime loop, MobileNetV3-Small, logits only", plain_onnx_folder),
    "decode": ("(e) decode and resize alone", decode_alone),
    "decode_fast": ("(e) the same as `--fast-decode` does it", decode_fast),
    "network": ("the network alone, ONNX Runtime", network_alone),
}


# What is measured: one picture


def plain_session(path: Path, threads: int | None) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def plain_answer(session: Any, path: Path) -> Any:
    import numpy as np
    from PIL import Image

    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR), dtype=np.float32)
    pixels = (pixels / 255.0 - np.array([0.485, 0.456, 0.406], np.float32)) / np.array(
        [0.229, 0.224, 0.225], np.float32
    )
    logits = session.run(["logits"], {"image": pixels.transpose(2, 0, 1)[None]})[0]
    scaled = np.exp(logits - logits.max())
    return scaled / scaled.sum()


def latency(work: Path, answer: Callable[[Path], Any], repeats: int) -> dict[str, Any]:
    paths = pictures(work)[:20]
    for path in paths:
        answer(path)
    spans, cpu = [], []
    for i in range(repeats):
        began, worked = time.perf_counter(), time.process_time()
        answer(paths[i % len(paths)])
        spans.append(1000 * (time.perf_counter() - began))
        cpu.append(1000 * (time.process_time() - worked))
    return {
        "p50": statistics.median(spans),
        "p95": statistics.quantiles(spans, n=20)[-1],
        "cpu": statistics.median(cpu),
    }


def lentigo_single(work: Path, bundle: str, threads: int | None, repeats: int) -> dict[str, Any]:
    from lentigo.inference import load

    return latency(work, load(work / bundle, threads=threads, batch=1).predict, repeats)


def plain_single(work: Path, graph: str, threads: int | None, repeats: int) -> dict[str, Any]:
    session = plain_session(work / graph, threads)
    return latency(work, lambda path: plain_answer(session, path), repeats)


def torch_single(work: Path, threads: int | None, repeats: int) -> dict[str, Any]:
    import torch

    from lentigo.networks import create_network

    if threads is not None:
        torch.set_num_threads(threads)
    from torchvision.transforms import v2

    network = create_network("mobilenetv3_small_caco", classes=CLASSES).eval()
    normalise = v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    steps = [v2.ToImage(), v2.Resize((SIZE, SIZE), antialias=True), v2.ToDtype(torch.float32, scale=True), normalise]
    data = Pictures(pictures(work), v2.Compose(steps))

    def answer(path: Path) -> Any:
        with torch.inference_mode():
            return network(data[data.paths.index(path)][None]).softmax(1)

    return latency(work, answer, repeats)


SINGLE: dict[str, tuple[str, Callable[[Path, int | None, int], dict[str, Any]]]] = {
    "lentigo_se": (
        "**lentigo** `predict`, MobileNetV3-Small, with heat map and embedding",
        lambda w, t, n: lentigo_single(w, "se", t, n),
    ),
    "plain_se": (
        "(d) plain ONNX Runtime, MobileNetV3-Small, logits only",
        lambda w, t, n: plain_single(w, "se.onnx", t, n),
    ),
    "lentigo_caco": (
        "**lentigo** `predict`, MobileNetV3-CaCo, with heat map and embedding",
        lambda w, t, n: lentigo_single(w, "caco", t, n),
    ),
    "eager": ("(a) PyTorch eager + torchvision, MobileNetV3-CaCo, logits only", torch_single),
}


# What is measured: from the prompt to the answer


def start_programs(work: Path) -> dict[str, list[str]]:
    picture = str(pictures(work)[0])
    return {
        "`lentigo predict photo.jpg`": [
            sys.executable,
            "-m",
            "lentigo",
            "predict",
            picture,
            "--model",
            str(work / "caco"),
        ],
        "the same from Python: load, predict, print": [
            sys.executable,
            "-c",
            f"import lentigo; print(lentigo.load({str(work / 'caco')!r}, threads=1).predict({picture!r}))",
        ],
        '`python -c "import onnxruntime"`': [sys.executable, "-c", "import onnxruntime"],
        '`python -c "import torch"`': [sys.executable, "-c", "import torch"],
        "PyTorch eager: import, build, classify": [
            sys.executable,
            "-c",
            "import torch, torchvision; from PIL import Image; m = torchvision.models.mobilenet_v3_small().eval(); "
            f"t = torchvision.transforms.functional.to_tensor(Image.open({picture!r}).resize((224, 224)))[None]; print(m(t).argmax())",
        ],
    }


def whole_programs(work: Path) -> dict[str, list[str]]:
    """Classify the whole folder, from the prompt to the end of the process."""
    lentigo = [sys.executable, "-m", "lentigo", "predict", str(work / "pictures"), "--model", str(work / "caco")]
    return {
        "**lentigo** `predict FOLDER --out out.csv`": [*lentigo, "--out", str(work / "out.csv"), "--quiet"],
        "(a) as a whole process": [sys.executable, __file__, "--case", "folder", str(work), "eager"],
    }


def seconds(program: list[str]) -> dict[str, float]:
    began, worked = time.perf_counter(), cpu_seconds()
    subprocess.run(program, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return {"seconds": time.perf_counter() - began, "cpu": cpu_seconds() - worked}


def stream_memory(work: Path, images: int) -> list[tuple[int, float]]:
    """Peak memory in MiB while a long stream runs, at each tenth of it."""
    from lentigo.inference import Row, load, predict_paths

    count, found = 0, []

    def note(row: Row) -> None:
        nonlocal count
        count += 1
        if count == 1000 or count % (images // 10) == 0:
            found.append((count, peak_memory()))

    unique = [path.resolve() for path in pictures(work)]
    folder = work / "stream"
    folder.mkdir()
    for i in range(images):
        (folder / f"{i:07}{unique[i % len(unique)].suffix}").symlink_to(unique[i % len(unique)])
    predict_paths(
        load(work / "caco", threads=1, batch=8), folder, out=work / "stream.jsonl", progress=False, on_row=note
    )
    return found


# Setting up


def prepare(work: Path, images: int, given: Path | None, side: int | None) -> str:
    """Make pictures and models to measure with, and return a description of the pictures."""
    folder = work / "pictures"
    folder.mkdir(parents=True)
    if given is not None:
        from lentigo.imaging import find_images

        unique = [path.resolve() for path in find_images(given)]
        what = f"images of `{given.name}`"
    else:
        from lentigo.synthetic.phantom import render_phantom

        store = work / "unique"
        store.mkdir()
        unique = [store / f"{i:03d}.jpg" for i in range(min(images, 100))]
        for i, path in enumerate(unique):
            image = render_phantom(CODES[i % len(CODES)], i, side or 600)
            (image if side else image.crop((0, 75, 600, 525))).save(path, quality=90)
        what = f"rendered {f'{side}x{side}' if side else '600x450'} JPEGs, quality 90"
    for i in range(images):
        source = unique[i % len(unique)]
        (folder / f"{i:06d}{source.suffix}").symlink_to(source)
    write_models(work)
    return f"{images:,} {what} ({min(images, len(unique)):,} different ones, in the page cache)"


def write_models(work: Path) -> None:
    import onnx
    import torch

    from lentigo.bundle import InputSpec, NetworkSpec, OutputSpec, Provenance, Spec, write_bundle
    from lentigo.export.graph import export_graph
    from lentigo.labels import HAM10000
    from lentigo.networks import create_network

    torch.manual_seed(0)
    for name, network in (("caco", "mobilenetv3_small_caco"), ("se", "mobilenetv3_small_se")):
        built = create_network(network, classes=CLASSES).eval()
        content = export_graph(built, SIZE)
        spec = Spec(
            name=f"benchmark-{name}",
            title="Random weights, for timing only",
            classes=HAM10000.classes,
            input=InputSpec(size=SIZE, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
            outputs=OutputSpec(embedding=1024, cam=(7, 7)),
            network=NetworkSpec(name=network, parameters=sum(p.numel() for p in built.parameters())),
            provenance=Provenance(
                command="benchmarks/inference.py",
                recipe={},
                data="none",
                fingerprint="",
                protocol="none",
                split_seed=0,
                seed=0,
                hardware="",
                wall_seconds=0,
                created=date.today().isoformat(),
                lentigo=version("lentigo"),
            ),
            licence="Apache-2.0",
            data_licence="none",
        )
        write_bundle(
            work / name,
            spec,
            {"model.onnx": content, "MODEL_CARD.md": b"", "golden.json": b'{"format": 1, "cases": []}'},
        )
    # What a plain export of MobileNetV3-Small computes: the same graph with the logits as its only output.
    onnx.utils.extract_model(work / "se" / "model.onnx", work / "se.onnx", ["image"], ["logits"])


def run_case(*arguments: str) -> Any:
    done = subprocess.run([sys.executable, __file__, "--case", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def case(arguments: list[str]) -> Any:
    kind, work = arguments[0], Path(arguments[1])
    match kind:
        case "folder":
            return FOLDER[arguments[2]][1](work)
        case "single":
            return SINGLE[arguments[2]][1](work, int(arguments[3]) or None, int(arguments[4]))
        case "memory":
            return stream_memory(work, int(arguments[2]))
        case _:
            raise SystemExit(f"no case {kind}")


# Tables


def machine() -> str:
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        models = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        model = models[0] if models else model
    parts = [
        f"{name} {version(name)}"
        for name in ("lentigo", "onnxruntime", "pillow", "numpy", "torch", "torchvision", "timm")
    ]
    return f"{model}, {CORES} cores; {platform.system()}, Python {platform.python_version()}, {', '.join(parts)}; {date.today().isoformat()}"


def folder_table(found: dict[str, dict[str, Any]]) -> list[str]:
    base = found["eager"]
    lines = [
        "| a folder of pictures | images/s | against (a) | CPU ms an image | against (a) | peak memory MiB (a worker) |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for key, (name, _) in FOLDER.items():
        if key not in found:
            continue
        f = found[key]
        workers = f" ({f['worker_memory']:.0f})" if f["worker_memory"] > 1 else ""
        rate, cpu = f["rate"] / base["rate"], base["cpu"] / f["cpu"]
        lines.append(
            f"| {name} | {f['rate']:.0f} | {rate:.2f} x | {f['cpu']:.2f} | {cpu:.2f} x | {f['memory']:.0f}{workers} |"
        )
    limits = [
        _limit(found, "lentigo", "decode"),
        "With `--fast-decode`: " + _limit(found, "lentigo_fast", "decode_fast"),
    ]
    return [*lines, "", "Reading and the network share the same cores. " + " ".join(limits)]


def _limit(found: dict[str, dict[str, Any]], case: str, reading: str) -> str:
    """How much of what reading and the network allow together, and of the slower of the two alone, a case reaches."""
    ours, decode, network = found[case], found[reading], found["network"]
    together = 1 / (1 / decode["rate"] + 1 / network["rate"])
    lower = min(decode["rate"], network["rate"])
    return (
        f"The limit of both together is {together:.0f} images/s ({decode['cpu'] + network['cpu']:.2f} ms of CPU an image); lentigo reaches "
        f"{ours['rate'] / together:.0%} of it ({(decode['cpu'] + network['cpu']) / ours['cpu']:.0%} by CPU time), and "
        f"{ours['rate'] / lower:.0%} of the lower of the two single limits ({lower:.0f} images/s, which needs separate cores for each)."
    )


def single_table(found: dict[str, dict[str, dict[str, float]]]) -> list[str]:
    lines = [
        "| one picture, file to answer | 1 thread p50 ms | p95 | CPU p50 | all threads p50 ms | p95 |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for key, (name, _) in SINGLE.items():
        one, every = found[key]["1"], found[key]["0"]
        lines.append(
            f"| {name} | {one['p50']:.2f} | {one['p95']:.2f} | {one['cpu']:.2f} | {every['p50']:.2f} | {every['p95']:.2f} |"
        )
    ours, plain = found["lentigo_se"], found["plain_se"]
    one, cpu, every = (ours[t][k] / plain[t][k] for t, k in (("1", "p50"), ("1", "cpu"), ("0", "p50")))
    told = f"lentigo against (d), the same network: {one:.2f} x on one thread ({cpu:.2f} x in CPU time), {every:.2f} x on all."
    return [*lines, "", told]


def whole_table(found: dict[str, dict[str, float]], images: int) -> list[str]:
    base = list(found.values())[-1]
    lines = ["| a whole process | images/s | against (a) | CPU seconds | against (a) |", "|---|---:|---:|---:|---:|"]
    for name, f in found.items():
        rate, cpu = base["seconds"] / f["seconds"], base["cpu"] / f["cpu"]
        lines.append(f"| {name} | {images / f['seconds']:.0f} | {rate:.2f} x | {f['cpu']:.1f} | {cpu:.2f} x |")
    return lines


def cold_table(found: dict[str, dict[str, float]]) -> list[str]:
    base = found['`python -c "import torch"`']["seconds"]
    lines = ["| from the prompt to the answer | seconds | CPU seconds | of `import torch` |", "|---|---:|---:|---:|"]
    return lines + [
        f"| {name} | {f['seconds']:.2f} | {f['cpu']:.2f} | {f['seconds'] / base:.0%} |" for name, f in found.items()
    ]


def memory_table(found: list[tuple[int, float]]) -> list[str]:
    last, peak = found[-1]
    thousand = next(mib for count, mib in found if count >= 1000 or count == last)
    return [
        f"Memory of a stream over a folder of {last:,} symbolic links: at most {peak:.1f} MiB, {peak - thousand:.1f} more"
        " than after the first thousand images."
    ]


def write_readme(text: str) -> None:
    old = README.read_text(encoding="utf-8") if README.is_file() else "# Benchmarks\n"
    block = f"{BEGIN}\n{text}\n{END}"
    if BEGIN in old and END in old:
        new = old[: old.index(BEGIN)] + block + old[old.index(END) + len(END) :]
    else:
        new = old.rstrip() + f"\n\n{block}\n"
    README.write_text(new, encoding="utf-8")


class Record:
    """The best round of each case so far, in a file of the work folder, so that a run that was stopped goes on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    def keep(self, group: str, case: str, number: int, measure: Callable[[], dict[str, Any]]) -> None:
        """Measure a case unless that round of it is there."""
        cases = self.found.setdefault(group, {})
        rounds, best = cases.get(case, (0, {}))
        if rounds > number:
            return
        new = measure()
        best = {key: (max if key == "rate" else min)(best.get(key, value), value) for key, value in new.items()}
        cases[case] = (number + 1, best)
        self.path.write_text(json.dumps(self.found), encoding="utf-8")

    def best(self, group: str) -> dict[str, Any]:
        """Best values of a group's cases, by case."""
        return {case: values for case, (_, values) in self.found[group].items()}


def measure(work: Path, options: argparse.Namespace) -> str:
    """Measure all cases, and return the tables."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # pip compiles what it installs, and so do these processes
    record = Record(work / "record.json")
    if "about" not in record.found:
        load_before = os.getloadavg()[0]
        record.found["about"] = [prepare(work, options.images, options.folder, options.side), load_before]
    what, load_before = record.found["about"]
    name, starts = str(work), start_programs(work)
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
        for title, program in whole_programs(work).items():
            record.keep("whole", title, number, lambda program=program: seconds(program))  # type: ignore[misc]
        for key in [key for key in FOLDER if key not in options.skip]:
            record.keep("folder", key, number, lambda key=key: run_case("folder", name, key))  # type: ignore[misc]
        for key in () if "single" in options.skip else SINGLE:
            for threads in ("1", "0"):
                arguments = ("single", name, key, threads, str(options.repeats))
                record.keep("single", f"{key} {threads}", number, lambda a=arguments: run_case(*a))  # type: ignore[misc]
    for number in range(options.rounds + 2):
        for title, program in starts.items():
            record.keep("start", title, number, lambda program=program: seconds(program))  # type: ignore[misc]
    parts = [
        "## Inference",
        "",
        f"{what}, {SIZE} px, {CLASSES} classes. {machine()}. Load average before the first round: {load_before:.1f} "
        "(other load increases wall times, but CPU times only slightly).",
        f"Command: `python benchmarks/inference.py {' '.join(sys.argv[1:])}`. The best of {options.rounds} rounds.",
        "",
        *whole_table(record.best("whole"), options.images),
        "",
        *folder_table(record.best("folder")),
        "",
        *cold_table(record.best("start")),
    ]
    if "single" not in options.skip:
        singles = record.best("single")
        parts += ["", *single_table({key: {t: singles[f"{key} {t}"] for t in ("1", "0")} for key in SINGLE})]
    if options.stream:
        parts += ["", *memory_table(run_case("memory", name, str(options.stream)))]
    return "\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=600, help="pictures in the folder")
    parser.add_argument("--side", type=int, help="render square pictures of this side instead of 600x450")
    parser.add_argument("--folder", type=Path, help="real images in the place of rendered ones")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of which the best counts")
    parser.add_argument("--repeats", type=int, default=200, help="single answers a round")
    parser.add_argument("--stream", type=int, default=0, help="also measure the memory of a stream of this many images")
    parser.add_argument("--work", type=Path, help="folder for pictures, models and measurements, which is kept")
    parser.add_argument(
        "--skip", nargs="+", default=[], choices=["compiled", "timm", "plain", "single"], help="cases to leave out"
    )
    parser.add_argument("--write", action="store_true", help=f"put the tables into {README.name}")
    parser.add_argument("--case", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(case(options.case)))
        return
    with tempfile.TemporaryDirectory(prefix="lentigo-benchmark-") as name:
        text = measure(options.work or Path(name), options)
    print(text)
    if options.write:
        write_readme(text)


if __name__ == "__main__":
    main()

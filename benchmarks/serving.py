"""The service under load, against the simplest FastAPI + ONNX Runtime handler, in one run on this machine.

    python benchmarks/serving.py                        # prints the tables, a few minutes
    python benchmarks/serving.py --requests 20000 --write   # also memory over 20,000 requests; puts the tables into benchmarks/README.md
    python benchmarks/serving.py --isolation --model dermoscopy-7   # what decoding in processes costs against threads
    python benchmarks/serving.py --hostile --model dermoscopy-7   # good requests while benchmarks/hostile.py runs against the service

All servers get the same network and the same pictures, from the same load generator on the same machine: a closed loop of
1, 8, 64 and 256 clients that each keep one connection. Cases are measured in turn, several rounds, and the median of each figure counts, so
that what else the machine does falls on all. CPU time a request is the servers' own; it hardly depends on the rest.
The peer answers with probabilities only; lentigo's network also computes heat map and embedding, and its service checks,
counts and logs every request. Needs the make wing (for rendering pictures and cutting the peer's graph).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import version
from pathlib import Path
from urllib.request import urlopen

README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- serving -->", "<!-- /serving -->"
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
CLIENTS = (1, 8, 64, 256)
OVERLOAD = 512
CODES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")

PEER = '''
"""The simplest service: what a tutorial shows. Two ways to write the handler."""

from io import BytesIO

import numpy as np
import onnxruntime
from fastapi import FastAPI, UploadFile
from PIL import Image

app = FastAPI()
session = onnxruntime.InferenceSession({model!r}, providers=["CPUExecutionProvider"])
mean, std = np.array({mean!r}, np.float32), np.array({std!r}, np.float32)
codes = {codes!r}


def classify(content):
    image = Image.open(BytesIO(content)).convert("RGB").resize(({size}, {size}), Image.Resampling.BILINEAR)
    pixels = (np.asarray(image, np.float32) / 255 - mean) / std
    logits = session.run(["logits"], {{"image": pixels.transpose(2, 0, 1)[None]}})[0][0] / {temperature!r}
    exponents = np.exp(logits - logits.max())
    probabilities = exponents / exponents.sum()
    return {{"label": codes[int(probabilities.argmax())], "probabilities": dict(zip(codes, probabilities.tolist()))}}


@app.post("/async")
async def in_the_event_loop(image: UploadFile):
    return classify(await image.read())


@app.post("/def")
def in_a_thread(image: UploadFile):
    return classify(image.file.read())
'''

SERVE = """
import sys
from lentigo.serving import ServeConfig, serve

if __name__ == "__main__":
    model, port, workers, decode = sys.argv[1:]
    serve(ServeConfig(models=(model,), port=int(port), workers=int(workers), exact=decode == "exact", log_format="json"))
"""

IN_THREADS = """
import queue
import threading

import lentigo.serving.decoding as decoding
from lentigo.serving import decode_worker

class InThreads:
    def __init__(self, config, on_replaced):
        self.jobs = queue.SimpleQueue()
        self.submit = self.jobs.put
        for _ in range(config.decoders or config.cores_per_worker):
            threading.Thread(target=self.work, args=(config,), daemon=True).start()

    def work(self, config):
        while True:
            job = self.jobs.get()
            job.done(decode_worker.decode(job.data, job.size, config.max_pixels, exact=config.exact, quick=True))

    def wait_started(self, seconds):
        return True

    def close(self):
        pass

decoding.DecoderPool = InThreads
"""
"""The same service, but decoding in threads."""


# --- the servers ----------------------------------------------------------------------------------------------------


@dataclass
class Server:
    """One running server: where it is asked, and its processes."""

    process: subprocess.Popen[bytes]
    port: int
    ready: str

    def await_ready(self) -> None:
        end = time.monotonic() + 120
        while True:
            try:
                with urlopen(f"http://127.0.0.1:{self.port}{self.ready}", timeout=5) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() > end:
                raise SystemExit("a server does not start")
            time.sleep(0.1)

    def processes(self) -> list[int]:
        """The server and its workers."""
        found, queue = [], [self.process.pid]
        while queue:
            pid = queue.pop()
            found.append(pid)
            for task in Path(f"/proc/{pid}/task").glob("*/children"):  # a thread may have children of its own
                with suppress(OSError):
                    queue += map(int, task.read_text().split())
        return found

    def cpu_seconds(self) -> float:
        """CPU time of all threads, as the scheduler counts it: ticks of 10 ms miss short turns."""
        nanoseconds = 0
        for pid in self.processes():
            for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                with suppress(OSError):  # it has just ended
                    nanoseconds += int(task.read_text().split()[0])
        return nanoseconds / 1e9

    def resident_mib(self) -> float:
        pages = 0
        for pid in self.processes():
            with suppress(OSError):
                pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@contextmanager
def started(command: list[str], port: int, ready: str, log: Path) -> Iterator[Server]:
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=log.parent)
    server = Server(process, port, ready)
    try:
        server.await_ready()
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- the load -------------------------------------------------------------------------------------------------------


@dataclass
class Result:
    """One round of one case."""

    seconds: float = 0.0
    cpu: float = 0.0
    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    @property
    def rate(self) -> float:
        return self.statuses[200] / self.seconds

    @property
    def cpu_ms(self) -> float:
        return 1000 * self.cpu / max(1, self.statuses.total())

    def percentile(self, q: float) -> float:
        """Milliseconds of the answers with status 200."""
        ordered = sorted(self.latencies)
        return 1000 * ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else float("nan")


class Client(asyncio.Protocol):
    """A client that asks, waits for the whole answer, and asks again; as little work as can be."""

    def __init__(self, requests: list[bytes], first: int, result: Result, stop: Stop) -> None:
        self.requests, self.at, self.result, self.stop = requests, first, result, stop
        self.buffer = b""
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        if self.stop():
            self.transport.close()
            return
        self.at = (self.at + 1) % len(self.requests)
        self.began = time.perf_counter()
        self.transport.write(self.requests[self.at])

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self.buffer[:end].lower()
        at = head.index(b"content-length: ") + 16
        length = int(head[at : head.find(b"\r", at) if b"\r" in head[at:] else None])
        if len(self.buffer) < end + 4 + length:
            return
        status = int(head[9:12])
        self.result.statuses[status] += 1
        if status == 200:
            self.result.latencies.append(time.perf_counter() - self.began)
        self.buffer = b""
        if status == 429:  # a client that is told to come later does not come at once
            asyncio.get_running_loop().call_later(0.25, self.ask)
        else:
            self.ask()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.stop():
            self.result.statuses[0] += (
                1  # no answer: no server here closes a connection that it has not announced to close
            )
        if not self.done.done():
            self.done.set_result(None)


@dataclass
class Stop:
    """When the clients stop asking: at a time, or after a number of answers."""

    at: float = float("inf")
    after: int = 1 << 60
    result: Result = field(default_factory=Result)

    def __call__(self) -> bool:
        return time.perf_counter() >= self.at or self.result.statuses.total() >= self.after


def load(
    server: Server, requests: list[bytes], clients: int, *, seconds: float = float("inf"), count: int = 1 << 60
) -> Result:
    """Ask for so long, or so often."""
    result = Result()

    async def go() -> None:
        stop = Stop(time.perf_counter() + seconds, count, result)
        loop = asyncio.get_running_loop()
        made = [
            (await loop.create_connection(lambda i=i: Client(requests, i * 7, result, stop), "127.0.0.1", server.port))[
                1
            ]
            for i in range(clients)
        ]
        await asyncio.wait([client.done for client in made], timeout=seconds + 60 if seconds < 1e9 else 3600)

    before, began = server.cpu_seconds(), time.perf_counter()
    asyncio.run(go())
    result.seconds = time.perf_counter() - began
    result.cpu = server.cpu_seconds() - before
    return result


def pictures(count: int) -> list[bytes]:
    """Rendered dermoscopy-like pictures, 600x450 JPEG as HAM10000's are."""
    from io import BytesIO

    from lentigo.synthetic.phantom import render_phantom

    found = []
    for i in range(count):
        buffer = BytesIO()
        render_phantom(CODES[i % len(CODES)], i, 600).crop((0, 75, 600, 525)).save(buffer, "JPEG", quality=90)
        found.append(buffer.getvalue())
    return found


def raw(image: bytes) -> bytes:
    head = f"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/jpeg\r\nContent-Length: {len(image)}\r\n\r\n"
    return head.encode() + image


def form(path: str, image: bytes) -> bytes:
    part = b'--b\r\nContent-Disposition: form-data; name="image"; filename="x.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    body = part + image + b"\r\n--b--\r\n"
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


# --- the run --------------------------------------------------------------------------------------------------------


@dataclass
class Case:
    """A row of the table."""

    title: str
    server: Server
    requests: list[bytes]
    results: dict[int, list[Result]] = field(default_factory=dict)

    def median(self, clients: int, figure: Callable[[Result], float]) -> float:
        """The middle of a figure over the rounds."""
        return statistics.median(figure(result) for result in self.results[clients])


def random_bundle(folder: Path) -> Path:
    """A bundle of MobileNetV3-CaCo with random weights: speed does not depend on them."""
    import torch

    from lentigo.bundle import InputSpec, NetworkSpec, OutputSpec, Provenance, Spec, write_bundle
    from lentigo.export.graph import export_graph
    from lentigo.labels import HAM10000
    from lentigo.networks import create_network

    torch.manual_seed(0)
    network = create_network("mobilenetv3_small_caco", classes=len(HAM10000)).eval()
    spec = Spec(
        name="random",
        title="Random weights, for timing only",
        classes=HAM10000.classes,
        input=InputSpec(size=224, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
        outputs=OutputSpec(embedding=1024, cam=(7, 7)),
        network=NetworkSpec(name="mobilenetv3_small_caco", parameters=sum(p.numel() for p in network.parameters())),
        provenance=Provenance(command="benchmarks/serving.py", recipe={}, data="none", fingerprint="", protocol="", split_seed=0, seed=0,
                              hardware="", wall_seconds=0, created=date.today().isoformat(), lentigo=version("lentigo")),
        licence="Apache-2.0",
        data_licence="none",
    )  # fmt: skip
    files = {
        "model.onnx": export_graph(network, 224),
        "MODEL_CARD.md": b"",
        "golden.json": b'{"format": 1, "cases": []}',
    }
    return write_bundle(folder, spec, files).path


def cases(stack: ExitStack, work: Path, model: str | None) -> list[Case]:
    import onnx

    from lentigo.inference import find_bundle

    bundle = find_bundle(model or random_bundle(work / "random"))
    spec = bundle.spec
    # What a plain export would compute.
    onnx.utils.extract_model(bundle.model, work / "peer.onnx", ["image"], ["logits"])
    facts = {
        "mean": spec.input.mean,
        "std": spec.input.std,
        "size": spec.input.size,
        "temperature": spec.temperature,
        "codes": spec.codes,
    }
    (work / "peer.py").write_text(PEER.format(model=str(work / "peer.onnx"), **facts))
    (work / "serve.py").write_text(SERVE)
    images = pictures(48)

    def peer(workers: int) -> Server:
        port = free_port()
        command = [
            sys.executable,
            "-m",
            "uvicorn",
            "peer:app",
            "--port",
            str(port),
            "--log-level",
            "warning",
            "--workers",
            str(workers),
        ]
        return stack.enter_context(started(command, port, "/openapi.json", work / f"peer{workers}.log"))

    def ours(workers: int, decode: str) -> Server:
        port = free_port()
        command = [sys.executable, "serve.py", str(bundle.path), str(port), str(workers), decode]
        return stack.enter_context(started(command, port, "/readyz", work / f"lentigo{workers}{decode}.log"))

    one, many = peer(1), peer(CORES)
    return [
        Case("simplest handler, `async def`", one, [form("/async", image) for image in images]),
        Case("simplest handler, `def`", one, [form("/def", image) for image in images]),
        Case(f"simplest handler, `async def`, {CORES} workers", many, [form("/async", image) for image in images]),
        Case("**lentigo**, 1 worker", ours(1, "exact"), [raw(image) for image in images]),
        Case(f"**lentigo**, {CORES} workers", ours(CORES, "exact"), [raw(image) for image in images]),
        Case(f"**lentigo** `--fast-decode`, {CORES} workers", ours(CORES, "fast"), [raw(image) for image in images]),
    ]


def measure(found: list[Case], seconds: float, rounds: int, clients: tuple[int, ...]) -> None:
    for case in found:
        load(case.server, case.requests, 8, seconds=2.0)  # warm
    for turn in range(rounds):
        for count in clients:
            for case in found:
                result = load(case.server, case.requests, count, seconds=seconds)
                case.results.setdefault(count, []).append(result)
                print(f"round {turn + 1}, {count:3} clients: {result.rate:6.1f}/s  {case.title}", file=sys.stderr)


def memory(case: Case, requests: int) -> list[tuple[int, float]]:
    """Resident memory after each twentieth of so many requests."""
    points = []
    for step in range(1, 21):
        result = load(case.server, case.requests, 64, count=requests // 20)
        if set(result.statuses) != {200}:
            raise SystemExit(f"unexpected answers: {result.statuses}")
        points.append((step * requests // 20, case.server.resident_mib()))
        print(f"{points[-1][0]} requests: {points[-1][1]:.0f} MiB", file=sys.stderr)
    return points


def hostile(server: Server, requests: list[bytes], seconds: float, clients: int) -> str:
    """Good requests in quiet and under attack, as a table in Markdown."""
    load(server, requests, clients, count=60)
    peaks: dict[str, float] = {}
    results: dict[str, Result] = {}
    told: dict[str, dict[str, int]] = {}
    for name in ("quiet", "under attack", "quiet again"):
        attacker = None
        if name == "under attack":
            command = [sys.executable, str(Path(__file__).with_name("hostile.py")), str(server.port), str(seconds + 6)]
            attacker = subprocess.Popen(command, stdout=subprocess.PIPE)
            assert attacker.stdout is not None
            attacker.stdout.readline()  # its files are made
            time.sleep(4)  # until its connections stand
        with Sampling(server) as sampling:
            results[name] = load(server, requests, clients, seconds=seconds)
        peaks[name] = sampling.peak
        if attacker is not None:
            told = json.loads(attacker.communicate()[0])
    lines = [
        f"| {clients} clients | good answers/s | p50 ms | p99 ms | not 200 | memory MiB, all processes |",
        "|---|---:|---:|---:|---|---:|",
    ]
    for name, result in results.items():
        others = (
            ", ".join(
                f"{n} x {status or 'no answer'}" for status, n in sorted(result.statuses.items()) if status != 200
            )
            or "-"
        )
        lines.append(
            f"| {name} | {result.rate:.0f} | {result.percentile(0.5):.0f} | {result.percentile(0.99):.0f} | {others} | {peaks[name]:.0f} |"
        )
    lines += ["", "| sent | answers |", "|---|---|"]
    lines += [
        f"| {name} | {', '.join(f'{n} x {status}' for status, n in counts.items())} |" for name, counts in told.items()
    ]
    return "\n".join(lines)


def isolation(
    servers: list[Server], requests: list[bytes], seconds: float, rounds: int, clients: tuple[int, ...]
) -> str:
    """What decoding in processes costs against decoding in threads: many short turns, in random order within a pair."""
    import numpy as np

    draw = np.random.default_rng(0)
    figures: dict[str, Callable[[Result], float]] = {
        "answers/s": lambda r: r.rate,
        "mean ms": lambda r: 1000 * statistics.fmean(r.latencies),
        "p50 ms": lambda r: r.percentile(0.5),
        "CPU ms a request": lambda r: r.cpu_ms,
    }
    lines = ["| clients | figure | processes | threads | ratio | 95 % interval |", "|---|---|---:|---:|---:|---|"]
    for server in servers:
        load(server, requests, 8, seconds=2.0)  # warm
    for count in clients:
        pairs: list[list[Result]] = []
        for _ in range(rounds):
            pair = {int(i): load(servers[i], requests, count, seconds=seconds) for i in draw.permutation(2)}
            pairs.append([pair[0], pair[1]])
        if any(set(result.statuses) != {200} for pair in pairs for result in pair):
            raise SystemExit("unexpected answers")
        for name, figure in figures.items():
            found = np.array([[figure(result) for result in pair] for pair in pairs])  # (rounds, 2)
            ratios = np.log(found[:, 0] / found[:, 1])
            means = ratios[draw.integers(0, rounds, (5000, rounds))].mean(1)
            low, high = np.exp(np.quantile(means, (0.025, 0.975)))
            middle = np.median(found, axis=0)
            lines.append(
                f"| {count} | {name} | {middle[0]:.2f} | {middle[1]:.2f} | {np.exp(ratios.mean()):.3f} | {low:.3f} to {high:.3f} |"
            )
    return "\n".join(lines)


class Sampling(threading.Thread):
    """The largest resident memory of a server and its processes, looked at five times a second."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self.server = server
        self.peak = 0.0
        self.over = threading.Event()

    def __enter__(self) -> Sampling:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.join()

    def run(self) -> None:
        while not self.over.wait(0.2):
            with suppress(OSError, ValueError, IndexError):  # a process has just ended
                self.peak = max(self.peak, self.server.resident_mib())


def report(
    found: list[Case], clients: tuple[int, ...], overload: Result | None, points: list[tuple[int, float]], head: str
) -> str:
    lines = ["## Service", "", head, ""]
    base = found[0]
    for count in clients:
        name = "1 client" if count == 1 else f"{count} clients"
        lines += [
            f"| {name} | requests/s | against the first | p50 ms | p95 ms | p99 ms | CPU ms a request | not 200 |",
            "|---|---:|---:|---:|---:|---:|---:|---|",
        ]
        for case in found:
            others = Counter[int]()
            for each in case.results[count]:
                others += each.statuses
            del others[200]
            bad = ", ".join(f"{n} x {status or 'no answer'}" for status, n in sorted(others.items())) or "-"
            ratio = statistics.median(
                a.rate / b.rate for a, b in zip(case.results[count], base.results[count], strict=True)
            )
            lines.append(
                f"| {case.title} | {case.median(count, lambda r: r.rate):.0f} | {ratio:.2f} x | "
                f"{case.median(count, lambda r: r.percentile(0.5)):.0f} | {case.median(count, lambda r: r.percentile(0.95)):.0f} | "
                f"{case.median(count, lambda r: r.percentile(0.99)):.0f} | {case.median(count, lambda r: r.cpu_ms):.2f} | {bad} |"
            )
        lines.append("")
    if overload is not None:
        answers = ", ".join(f"{n} x {status or 'no answer'}" for status, n in sorted(overload.statuses.items()))
        lines += [
            f"Overload: {OVERLOAD} clients at one worker whose queue holds 256 images: {answers}; "
            f"{overload.rate:.0f} requests/s answered with 200, p99 {overload.percentile(0.99):.0f} ms.",
            "",
        ]
    if points:
        (first, before), (last, after) = points[0], points[-1]
        peak = max(mib for _, mib in points)
        lines += [
            f"Memory of one worker: {before:.0f} MiB after {first:,} requests, {after:.0f} after {last:,}, at most {peak:.0f}.",
            "",
        ]
    return "\n".join(lines).rstrip()


def machine() -> str:
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        model = next(
            (line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")),
            model,
        )
    packages = ", ".join(
        f"{name} {version(name)}" for name in ("lentigo", "fastapi", "uvicorn", "onnxruntime", "pillow")
    )
    return f"{model}, {CORES} cores; {platform.system()}, Python {platform.python_version()}, {packages}; {date.today().isoformat()}"


def write(text: str) -> None:
    old = README.read_text(encoding="utf-8") if README.is_file() else "# Benchmarks\n"
    block = f"{BEGIN}\n{text}\n{END}"
    if BEGIN in old and END in old:
        new = old[: old.index(BEGIN)] + block + old[old.index(END) + len(END) :]
    else:
        new = f"{old.rstrip()}\n\n{block}\n"
    README.write_text(new, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--model", help="a packaged model, a bundle or a run folder; MobileNetV3-CaCo with random weights by default"
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, nargs="+", default=list(CLIENTS))
    parser.add_argument("--requests", type=int, default=0, help="also measure memory over so many requests")
    parser.add_argument("--only", default="", help="only the cases whose title holds this (the first always)")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {README.name}")
    parser.add_argument(
        "--hostile", action="store_true", help="good requests while hostile ones run against one worker; nothing else"
    )
    parser.add_argument(
        "--isolation", action="store_true", help="decoding in processes against threads, in turn; nothing else"
    )
    options = parser.parse_args()
    if options.hostile or options.isolation:
        programs = {"serve.py": SERVE, **({"threads.py": IN_THREADS + SERVE} if options.isolation else {})}
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            work = Path(folder)
            model = options.model or str(random_bundle(work / "random"))
            servers = []
            for name, program in programs.items():
                (work / name).write_text(program)
                port = free_port()
                command = [sys.executable, name, model, str(port), "1", "exact"]
                servers.append(stack.enter_context(started(command, port, "/readyz", work / f"{name}.log")))
            requests = [raw(image) for image in pictures(24)]
            if options.isolation:
                print(isolation(servers, requests, options.seconds, options.rounds, tuple(options.clients)))
            else:
                print(hostile(servers[0], requests, options.seconds, 4))
        return
    clients = tuple(options.clients)
    busy = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        found = cases(stack, Path(folder), options.model)
        found = [found[0], *(case for case in found[1:] if options.only in case.title)]
        measure(found, options.seconds, options.rounds, clients)
        single = next((case for case in found if "lentigo**, 1 worker" in case.title), None)
        overload = load(single.server, single.requests, OVERLOAD, seconds=options.seconds) if single else None
        points = memory(single, options.requests) if single and options.requests else []
    network = options.model or "MobileNetV3-CaCo with random weights, 224 px"
    head = (
        f"48 rendered 600x450 JPEGs, {network}; closed loop over kept connections, load generator on the same machine. {machine()}. "
        f"Load average before: {busy:.1f} (other load increases wall times; compare ratios and CPU times).\n"
        f"Command: `python benchmarks/serving.py {' '.join(a for a in sys.argv[1:])}`. The median of each figure over "
        f"{options.rounds} rounds of {options.seconds:g} s; ratios are taken within each round."
    )
    text = report(found, clients, overload, points, head)
    print(text)
    if options.json:
        figures = {
            c.title: {
                n: [[r.rate, r.percentile(0.5), r.percentile(0.99), r.cpu_ms] for r in rs]
                for n, rs in c.results.items()
            }
            for c in found
        }
        options.json.write_text(json.dumps(figures, indent=1))
    if options.write:
        write(text)


if __name__ == "__main__":
    main()

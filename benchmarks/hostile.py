"""Traffic against a service on this machine: hostile files, bodies of 1-byte chunks, and idle connections. Loopback only.

    python benchmarks/hostile.py PORT SECONDS       # as benchmarks/serving.py --hostile runs it

Prints ``begun``, and at the end one JSON object: how the hostile files were answered, and what ``/readyz`` said. Bounded in time and number.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import sys
import time
from collections import Counter
from itertools import cycle
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

FILES_A_SECOND, CHUNKED, IDLE, MOST_OPEN = 20, 4, 1000, 200
CHUNKED_BYTES_A_SECOND = 2_000_000


def hostile_files() -> dict[str, bytes]:
    """Eight kinds, each below a megabyte; the last two keep within every limit."""
    from hostile import HOSTILE, png, progressive_scans

    found = {
        name: HOSTILE[name]()
        for name in (
            "a png of one column",
            "a run-length bmp",
            "a jpeg of 2,000 scans",
            "a tiff with a huge tile",
            "a tiff of 80,000 strips",
            "a jpeg of 100,000 exif segments",
        )
    }
    found["a png at the pixel limit"] = png(7000, 7000, colour=6)
    found["a jpeg near the limit of scans"] = progressive_scans(50, 4000, 4000)
    return found


def predict(image: bytes) -> bytes:
    head = (
        f"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/jpeg\r\nContent-Length: {len(image)}\r\n"
    )
    return f"{head}Connection: close\r\n\r\n".encode() + image


async def ask(port: int, request: bytes, statuses: Counter[str]) -> None:
    """One request on a connection of its own."""
    try:
        async with asyncio.timeout(30):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(request)
                line = await reader.readline()
                statuses[line[9:12].decode() or "no answer"] += 1
                await reader.read()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        statuses["no answer"] += 1


async def send_files(port: int, end: float, files: dict[str, bytes], statuses: dict[str, Counter[str]]) -> None:
    tasks: set[asyncio.Task[None]] = set()
    for name, content in cycle([(name, predict(content)) for name, content in files.items()]):
        if time.monotonic() >= end:
            break
        if len(tasks) < MOST_OPEN:
            task = asyncio.create_task(ask(port, content, statuses.setdefault(name, Counter())))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.sleep(1 / FILES_A_SECOND)
    for task in tasks:
        task.cancel()


async def send_chunks(port: int, end: float) -> None:
    head = b"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/jpeg\r\nTransfer-Encoding: chunked\r\n\r\n"
    piece = b"1\r\nx\r\n" * 5000
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            with contextlib.closing(writer):
                writer.write(head)
                while time.monotonic() < end and not writer.is_closing():
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(len(piece) / CHUNKED_BYTES_A_SECOND)
        await asyncio.sleep(0.05)


async def stay_idle(port: int, end: float) -> None:
    while time.monotonic() < end:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(max(0.0, end - time.monotonic())):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                with contextlib.closing(writer):
                    await reader.read()
        await asyncio.sleep(1.0)


async def watch_ready(port: int, end: float, statuses: Counter[str]) -> None:
    while time.monotonic() < end:
        await ask(port, b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", statuses)
        await asyncio.sleep(0.5)


async def attack(port: int, seconds: float) -> dict[str, dict[str, int]]:
    files = hostile_files()
    print("begun", flush=True)
    end = time.monotonic() + seconds
    statuses: dict[str, Counter[str]] = {}
    ready: Counter[str] = Counter()
    await asyncio.gather(
        send_files(port, end, files, statuses),
        watch_ready(port, end, ready),
        *(send_chunks(port, end) for _ in range(CHUNKED)),
        *(stay_idle(port, end) for _ in range(IDLE)),
    )
    return {**{name: dict(counts) for name, counts in statuses.items()}, "/readyz": dict(ready)}


if __name__ == "__main__":
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 4096) if most > 0 else 4096, most))
    print(json.dumps(asyncio.run(attack(int(sys.argv[1]), float(sys.argv[2])))))

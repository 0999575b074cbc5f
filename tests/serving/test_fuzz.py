"""Five thousand mutated images, and mutated multipart bodies: no crash, no hang, no 5xx."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tiny_bundle import blob_image, tiny_bundle

from lentigo.serving.app import create_app
from lentigo.serving.config import ServeConfig
from lentigo.serving.service import Service

IMAGES = 5000
SEED = 20_240_601
EXPECTED = {200, 413, 415, 422}

# Numbers at which sizes, counts and offsets overflow, and markers of the formats.
INTERESTING = [
    b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\0\0\xff\xff", b"\1\0\0\0",
    b"\xff\xd8", b"\xff\xda", b"\xff\xc4", b"IHDR", b"IDAT", b"acTL", b"fdAT", b"iCCP", b"zTXt", b"VP8X",
    b"ALPH", b"ANMF", b"Exif\0\0", b"II*\0", b"NETSCAPE2.0",
]  # fmt: skip


def seeds() -> list[bytes]:
    """Small valid images of every format and of odd modes."""
    image = blob_image(5, 40, 30)
    found = []
    for kind, modes in (
        ("JPEG", ("RGB", "L", "CMYK")),
        ("PNG", ("RGB", "L", "P", "RGBA", "I;16", "1")),
        ("WEBP", ("RGB", "RGBA")),
        ("BMP", ("RGB", "P", "1")),
        ("TIFF", ("RGB", "L", "CMYK", "I;16")),
        ("GIF", ("P",)),
    ):
        for mode in modes:
            buffer = BytesIO()
            (image.convert("L").convert("I").convert("I;16") if mode == "I;16" else image.convert(mode)).save(
                buffer, kind
            )
            found.append(buffer.getvalue())
    for kind, options in (
        ("JPEG", {"progressive": True, "exif": b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\x06\0\0\0\0\0\0\0"}),
        ("GIF", {"save_all": True, "append_images": [blob_image(6, 40, 30)]}),
        ("PNG", {"save_all": True, "append_images": [blob_image(6, 40, 30)]}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "jpeg"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
        ("WEBP", {"lossless": True}),
    ):
        buffer = BytesIO()
        image.save(buffer, kind, **options)
        found.append(buffer.getvalue())
    return found


def mutate(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """One to eight small accidents."""
    content = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        at = rng.randrange(len(content)) if content else 0
        early = rng.randrange(min(len(content), 64)) if content else 0
        match rng.randrange(9):
            case 0:
                content[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                content[early : early + 1] = bytes([content[early] ^ 1 << rng.randrange(8)]) if content else b""
            case 2:
                word = rng.choice(INTERESTING)
                content[early : early + len(word)] = word
            case 3:
                word = rng.choice(INTERESTING)
                content[at : at + len(word)] = word
            case 4:
                del content[at:]
            case 5:
                del content[at : at + rng.randrange(1, 64)]
            case 6:
                content[at:at] = content[early : early + rng.randrange(1, 512)]
            case 7:
                other = rng.choice(others)
                content[at:] = other[rng.randrange(len(other)) :]
            case _:
                content[at:at] = rng.randbytes(rng.randrange(1, 64))
    return bytes(content)


async def ask(app: Any, body: bytes, kind: str, chunk: int = 65536) -> tuple[int, bytes]:
    """One request, with as little around it as can be."""
    pieces = [body[i : i + chunk] for i in range(0, len(body), chunk)] or [b""]
    status, content = 0, b""

    async def receive() -> dict[str, Any]:
        return (
            {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}
            if pieces
            else {"type": "http.disconnect"}
        )

    async def send(message: dict[str, Any]) -> None:
        nonlocal status, content
        status = message.get("status", status)
        content += message.get("body", b"")

    headers = [(b"host", b"localhost"), (b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "path": "/v1/predict",
             "raw_path": b"/v1/predict", "root_path": "", "query_string": b"", "headers": headers, "scheme": "http",
             "server": ("localhost", 80), "client": None}  # fmt: skip
    await app(scope, receive, send)
    return status, content


def fuzz(tmp_path: Path, make: Callable[[random.Random], tuple[bytes, str]], count: int) -> Counter[int]:
    """Send ``count`` requests, a few at once."""
    bundle = tiny_bundle(tmp_path / "tiny", size=32).path
    statuses: Counter[int] = Counter()
    rng = random.Random(SEED)

    async def go() -> None:
        service = Service(
            ServeConfig(models=(str(bundle),), max_pixels=1_000_000, max_body_bytes=200_000, log_level="error")
        )
        app = create_app(service.config, service)

        async def client(number: int) -> None:
            for _ in range(count // 8):
                body, kind = make(rng)
                async with asyncio.timeout(30):
                    status, content = await ask(app, body, kind)
                statuses[status] += 1
                document = json.loads(content)
                assert document["status"] == status if status != 200 else document["predictions"], body[:64]
                assert status < 500, (status, body[:200], document)

        async with service.running(), asyncio.TaskGroup() as group:
            for number in range(8):
                group.create_task(client(number))
        assert service.manager.pending == 0
        assert service.budget.held == 0

    asyncio.run(go())
    return statuses


@pytest.mark.filterwarnings("ignore")  # of Pillow, about what is odd in the images
def test_five_thousand_mutated_images(tmp_path: Path) -> None:
    found = seeds()
    statuses = fuzz(tmp_path, lambda rng: (mutate(rng, rng.choice(found), found), "image/jpeg"), IMAGES)
    assert statuses.total() == IMAGES
    assert set(statuses) <= EXPECTED
    assert min(statuses[200], statuses[415], statuses[422]) > 100, (
        "the mutations are too mild or too strong to say much"
    )


@pytest.mark.filterwarnings("ignore")
def test_mutated_multipart_bodies(tmp_path: Path) -> None:
    small = [one for one in seeds() if len(one) < 2000]
    head = b'Content-Disposition: form-data; name="image"; filename="x.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'

    def make(rng: random.Random) -> tuple[bytes, str]:
        parts = [b"--frontier\r\n" + head + rng.choice(small) + b"\r\n" for _ in range(rng.randrange(1, 4))]
        body = b"".join(parts) + b"--frontier--\r\n"
        return (
            mutate(rng, body, [body, b"\r\n--frontier\r\n" * 30, b"--frontier--"]),
            "multipart/form-data; boundary=frontier",
        )

    statuses = fuzz(tmp_path, make, 800)
    assert set(statuses) <= {200, 400, 413, 415, 422}
    assert statuses[200] > 50
    assert statuses[400] > 50


def test_the_mutator_is_seeded() -> None:
    found = seeds()
    first = [mutate(random.Random(1), found[0], found) for _ in range(3)]
    assert first == [mutate(random.Random(1), found[0], found) for _ in range(3)]
    assert len({mutate(random.Random(n), found[0], found) for n in range(50)}) > 40


def test_every_seed_is_a_valid_image(tmp_path: Path) -> None:
    for data in seeds():
        with Image.open(BytesIO(data)) as image:
            image.load()

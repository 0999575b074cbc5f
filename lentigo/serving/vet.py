"""Open a bundle and classify one image, in a process of its own: ``python -m lentigo.serving.vet SOURCE``.

A graph that never ends, or that crashes ONNX Runtime, fails here and not in a worker that answers requests.
Ends with 0, or with 2 and one line on standard output.
"""

from __future__ import annotations

import asyncio
import sys

import numpy as np

from lentigo.errors import BundleError, LentigoError
from lentigo.inference import Classifier, find_bundle
from lentigo.serving.decode_worker import child_environment, confine

MEMORY = 4 * 2**30
"""Bytes that the process may take; a few numbers in a graph can ask for any amount."""


async def vet(source: str, within_s: float) -> None:
    """Have a bundle tried out by another process.

    Args:
        source: as `lentigo.inference.find_bundle` takes it.
        within_s: how long that may take; the process is then killed.

    Raises:
        BundleError: the bundle cannot be loaded, or does not answer.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "lentigo.serving.vet", source,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        env=child_environment(),
    )  # fmt: skip
    try:
        async with asyncio.timeout(within_s):
            output, _ = await process.communicate()
    except TimeoutError:
        raise BundleError(f"{source}: its network does not answer one image within {within_s:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise BundleError(
            output.decode(errors="replace").strip()
            or f"{source}: its network ends the process (status {process.returncode})"
        )


def main(source: str) -> None:
    """Open a bundle and classify one image."""
    try:
        bundle = find_bundle(source)
        confine(MEMORY)
        classifier = Classifier(bundle, threads=1, spinning=False)
        classifier.run(np.zeros((1, classifier.size, classifier.size, 3), np.uint8))
    except LentigoError as error:
        print(error)
        sys.exit(2)
    except MemoryError:
        print(f"{source}: its network takes more than {MEMORY / 2**30:g} GiB of memory")
        sys.exit(2)


if __name__ == "__main__":
    main(sys.argv[1])

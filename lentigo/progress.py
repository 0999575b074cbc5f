"""Progress of a long job: nothing, a bar on standard error, or calls of a function."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[int, int], None]
"""A function called with (done, total); total is 0 if it is unknown."""


@contextmanager
def shown(progress: bool | Progress, description: str, total: int, *, size: bool = False) -> Iterator[Progress]:
    """Yield a function to call with (done, total) during a job.

    Args:
        progress: True for a bar, False for nothing, or a function to call.
        description: text of the bar.
        total: amount of work; 0 if it is unknown.
        size: whether to count in bytes, and show the speed.
    """
    if callable(progress):
        yield progress
    elif not progress:
        yield lambda done, total: None
    else:
        from rich import progress as rich
        from rich.console import Console

        units = (rich.DownloadColumn(), rich.TransferSpeedColumn()) if size else (rich.MofNCompleteColumn(),)
        columns = (rich.TextColumn("{task.description}"), rich.BarColumn(), *units, rich.TimeRemainingColumn())
        with rich.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(description, total=total or None)
            yield lambda done, total: bar.update(task, completed=done, total=total or None)

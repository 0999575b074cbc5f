"""Data: samples of images with labels, groups and splits; readers, cache, audit, download and phantoms.

Names are loaded when first used, so that ``lentigo.synthetic.phantom`` needs numpy and Pillow only.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lentigo.data.audit import Audit, audit_samples
    from lentigo.data.balance import balance_training
    from lentigo.data.cache import Cache, open_cache
    from lentigo.data.download import DATASETS, download_dataset
    from lentigo.data.groups import GroupSource
    from lentigo.data.readers import READERS, read_samples
    from lentigo.data.samples import SPLITS, Samples
    from lentigo.data.splits import PROTOCOLS, kfold_samples, load_split, save_split, split_samples

__all__ = [
    "DATASETS",
    "PROTOCOLS",
    "READERS",
    "SPLITS",
    "Audit",
    "Cache",
    "GroupSource",
    "Samples",
    "audit_samples",
    "balance_training",
    "download_dataset",
    "kfold_samples",
    "load_split",
    "open_cache",
    "read_samples",
    "save_split",
    "split_samples",
]

_HOME = {
    "Audit": "audit",
    "audit_samples": "audit",
    "balance_training": "balance",
    "Cache": "cache",
    "open_cache": "cache",
    "DATASETS": "download",
    "download_dataset": "download",
    "GroupSource": "groups",
    "READERS": "readers",
    "read_samples": "readers",
    "SPLITS": "samples",
    "Samples": "samples",
    "PROTOCOLS": "splits",
    "kfold_samples": "splits",
    "load_split": "splits",
    "save_split": "splits",
    "split_samples": "splits",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'lentigo.data' has no attribute {name!r}")
    value = getattr(import_module(f"lentigo.data.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))

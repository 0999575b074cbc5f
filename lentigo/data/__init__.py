"""Data: samples of images with labels, groups and splits; readers, cache, audit, download and phantoms.

Names load when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lentigo.lazy import attach

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

__getattr__, __dir__ = attach(
    __name__,
    {
        "audit": ("Audit", "audit_samples"),
        "balance": ("balance_training",),
        "cache": ("Cache", "open_cache"),
        "download": ("DATASETS", "download_dataset"),
        "groups": ("GroupSource",),
        "readers": ("READERS", "read_samples"),
        "samples": ("SPLITS", "Samples"),
        "splits": ("PROTOCOLS", "kfold_samples", "load_split", "save_split", "split_samples"),
    },
)

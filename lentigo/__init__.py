"""lentigo: small networks that classify skin-lesion images: train, evaluate, explain, and run on a phone.

Research software, not a medical device.

```python
import lentigo

print(lentigo.load().predict("photo.jpg"))
```
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lentigo.inference import Classifier, Prediction, load

__version__ = "0.1.0"
NOTICE = "Research use only, not a medical device and not a diagnosis."
"""Stands on every surface that shows a result."""
__all__ = ["NOTICE", "Classifier", "Prediction", "__version__", "load"]


def __getattr__(name: str) -> Any:
    # Looked up on first use, so that `import lentigo` costs nothing.
    if name in {"Classifier", "Prediction", "load"}:
        return getattr(import_module("lentigo.inference"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

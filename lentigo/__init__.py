"""lentigo: small networks that classify skin-lesion images: train, judge honestly, explain, and run on a phone.

Research software, not a medical device.
"""

from __future__ import annotations

__version__ = "0.1.0"

"""Random erasing: a box of an image is covered, so that no one part of the lesion is all that a network looks for."""

from __future__ import annotations

import math

from torch import Tensor

DRAWS = 5  # whether, area, shape, top, left
_AREA, _ASPECT = (0.02, 0.33), (0.3, 1 / 0.3)  # of the image; height to width. The authors' values.


def erase(x: Tensor, draws: Tensor, share: float) -> Tensor:
    """Cover a box in some images with ImageNet's mean colour (Zhong et al., AAAI 2020).

    Args:
        x: (N, 3, S, S) float32, normalised; changed in place.
        draws: (N, DRAWS) uniform in [0, 1), on the CPU.
        share: probability, image by image.

    Returns:
        The same tensor.
    """
    size = x.shape[-1]
    for row in (draws[:, 0] < share).nonzero().flatten().tolist():
        _, area, shape, top, left = draws[row].tolist()
        area = size * size * (_AREA[0] + area * (_AREA[1] - _AREA[0]))
        aspect = math.exp(math.log(_ASPECT[0]) + shape * (math.log(_ASPECT[1]) - math.log(_ASPECT[0])))
        height = min(size, max(1, round(math.sqrt(area * aspect))))
        width = min(size, max(1, round(math.sqrt(area / aspect))))
        top, left = int(top * (size - height + 1)), int(left * (size - width + 1))
        x[row, :, top : top + height, left : left + width] = 0
    return x

"""Random erasing: cover a box of an image, so that a network learns to use more than one part of the lesion."""

from __future__ import annotations

import math

from lentigo.training.batches import Batch
from lentigo.training.streams import Draws, Stream

_AREA, _ASPECT = (0.02, 0.33), (0.3, 1 / 0.3)  # fraction of the image; height / width; the authors' values


class Erase:
    """Cover a box in some images with ImageNet's mean colour (Zhong et al., AAAI 2020).

    Args:
        probability: of a box, per image, 0 to 1.
    """

    def __init__(self, probability: float) -> None:
        self.probability = probability

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        """Erase boxes of normalised images in place."""
        if not self.probability:
            return batch
        size = batch.images.shape[-1]
        table = draws.table(Stream.ERASE, 5)  # whether, area, aspect, top, left
        for row in (table[:, 0] < self.probability).nonzero().flatten().tolist():
            _, area, shape, top, left = table[row].tolist()
            area = size * size * (_AREA[0] + area * (_AREA[1] - _AREA[0]))
            aspect = math.exp(math.log(_ASPECT[0]) + shape * (math.log(_ASPECT[1]) - math.log(_ASPECT[0])))
            height = min(size, max(1, round(math.sqrt(area * aspect))))
            width = min(size, max(1, round(math.sqrt(area / aspect))))
            top, left = int(top * (size - height + 1)), int(left * (size - width + 1))
            batch.images[row, :, top : top + height, left : left + width] = 0
        return batch

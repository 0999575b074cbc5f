"""Write a trained network's predictions on one split: probabilities and class-activation maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lentigo.data.samples import COLUMNS, Samples
from lentigo.evaluation import make_predictions, maps_path, write_maps, write_predictions
from lentigo.imaging import IMAGENET_MEAN, IMAGENET_STD
from lentigo.networks import Network
from lentigo.networks.cam import closed_form_cam
from lentigo.training.augment import Normalise


@torch.inference_mode()
def write_split_predictions(
    network: Network,
    samples: Samples,
    pixels: NDArray[np.uint8],
    split: str,
    path: Path,
    *,
    device: torch.device,
    batch: int,
    maps: bool = True,
) -> None:
    """Predict one split and write its table, and class-activation maps if requested and supported by the head.

    Args:
        network: in evaluation mode, on the device.
        samples: the whole data set, split.
        pixels: (len(samples), S, S, 3) uint8, decoded at the final size.
        split: name of the split.
        path: the CSV to write; the maps are written beside it.
        device: device of the network.
        batch: number of images per batch.
        maps: whether to write maps.

    Raises:
        OutputError: a file cannot be written.
    """
    normalise = Normalise(IMAGENET_MEAN, IMAGENET_STD)
    part = samples.subset(split)
    rows = np.flatnonzero(samples.frame["split"].to_numpy() == split)
    logits, predicted, target = [], [], []
    for start in range(0, len(rows), batch):
        chosen = rows[start : start + batch]
        images = normalise(torch.from_numpy(pixels[chosen]).to(device))
        truth = torch.from_numpy(samples.targets[chosen]).to(device)
        if network.head is None or not maps:
            scores = network(images)
        else:
            features = network.forward_features(images)
            scores = network.forward_head(features)[0]
            cam = closed_form_cam(network.head, features)  # (N, K, h, w)
            every = torch.arange(len(chosen), device=device)
            predicted.append(cam[every, scores.argmax(1)].half().cpu().numpy())
            target.append(cam[every, truth].half().cpu().numpy())
        logits.append(scores.double().cpu())
    probabilities = torch.cat(logits).softmax(1).numpy()
    frame = part.frame
    images_ = frame["image"].tolist()
    table = make_predictions(
        images=images_,
        paths=frame["path"].tolist(),
        groups=frame["group"].tolist(),
        targets=frame["label"].tolist(),
        probabilities=probabilities,
        codes=samples.labels.codes,
        metadata=frame.drop(columns=list(COLUMNS)),
    )
    write_predictions(path, table)
    if predicted:
        write_maps(maps_path(path), images=images_, predicted=np.concatenate(predicted), target=np.concatenate(target))

"""The classifier: a bundle's graph in ONNX Runtime, with temperature-scaled probabilities."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from lentigo.bundle import MODALITIES, MODALITY, MODEL, SPEC, Bundle, Domain, Metadata, Spec
from lentigo.errors import BundleError, DataError, did_you_mean, first_line
from lentigo.imaging import Floats, ImageSource, Pixels, normalise, open_image
from lentigo.inference.hub import fetch_bundle, is_address
from lentigo.inference.prediction import Prediction
from lentigo.inference.quality import assess_quality
from lentigo.inference.session import DEFAULT, PACKAGED, SessionOptions, open_session
from lentigo.inference.verdict import Verdict, assess
from lentigo.labels import LabelSet
from lentigo.resampler import resize

CHUNK = 32


@dataclass(frozen=True, slots=True)
class Outputs:
    """The graph's outputs for a batch.

    Attributes:
        logits: (N, K) float32.
        probabilities: (N, K) float64, ``softmax(logits / temperature)``.
        embedding: (N, D) float32, the input of the last linear layer.
        cam: (N, K, h, w) float32, the exact Grad-CAM of every class; None where the network has no pooled head.
        atypicality: (N,) float32, OOD score of each image; None if the bundle has no such score.
        modality: (N, 3) float32, logits of the kinds of pictures (`lentigo.bundle.MODALITIES`); None if the bundle
            does not tell them.
    """

    logits: Floats
    probabilities: NDArray[np.float64]
    embedding: Floats
    cam: Floats | None
    atypicality: Floats | None = None
    modality: Floats | None = None

    def ood(self, index: int) -> tuple[float | None, Domain | None]:
        """Return one image's OOD score, and the most probable kind of picture; None for what the bundle lacks."""
        return (
            None if self.atypicality is None else float(self.atypicality[index]),
            None if self.modality is None else MODALITIES[int(self.modality[index].argmax())],
        )


def softmax(logits: NDArray[Any], temperature: float = 1.0) -> NDArray[np.float64]:
    """Temperature-scaled softmax over the last axis, in float64 (Guo et al., ICML 2017, equation 9).

    Args:
        logits: (..., K).
        temperature: above 1 softens, below 1 sharpens.

    Returns:
        (..., K) float64, summing to 1.
    """
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    scaled -= scaled.max(axis=-1, keepdims=True)
    np.exp(scaled, out=scaled)
    scaled /= scaled.sum(axis=-1, keepdims=True)
    return scaled


class Classifier:
    """A bundle's model, ready to classify; thread-safe.

    Args:
        bundle: an opened, verified bundle.
        threads: threads of one inference; None takes all cores.
        spinning: let idle inference threads spin for a while, which answers single images sooner;
            off where other threads need the cores, as in a stream.
        batch: images of every inference, if that is known. ONNX Runtime then knows every shape and keeps its blocked
            memory layout throughout: an image takes a sixth less time. Smaller batches are padded with empty images,
            larger ones are split.
        maps: whether class-activation maps are computed; without them an image takes a fifteenth less time, and a
            session 30 ms more to open.

    Attributes:
        bundle: the bundle.
        spec: its specification.
        labels: its classes, in output order.
        size: side of the input square in pixels.
        threads: threads of one inference, or None.
        batch: images of every inference, or None.
        maps: whether there are class-activation maps.

    Raises:
        BundleError: the graph cannot be loaded, or does not match the specification.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        threads: int | None = None,
        spinning: bool = True,
        batch: int | None = None,
        maps: bool = True,
    ) -> None:
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        if batch is not None and batch < 1:
            raise ValueError(f"batch must be at least 1, not {batch}")
        self.bundle = bundle
        self.spec: Spec = bundle.spec
        self.labels: LabelSet = self.spec.labels
        self.size = self.spec.input.size
        self.threads = threads
        self.batch = batch
        has_maps = self.spec.outputs.cam is not None
        self.maps = maps and has_maps
        expected = _expected_outputs(self.spec, maps=self.maps)
        kept = (*expected, MODALITY) if has_maps and not maps else None
        options = SessionOptions(threads, spinning, batch, kept)
        self._session: Any = open_session(bundle.model, bundle.read(MODEL), options)
        self._outputs = _check_graph(self._session, bundle, expected)

    def __repr__(self) -> str:
        spec = self.spec
        classes = f"{len(spec.classes)} classes ({', '.join(spec.codes)})"
        return f"Classifier({spec.name} v{spec.version}: {classes}, {self.size} px, {spec.weights})"

    def for_stream(self, batch: int, *, maps: bool = True) -> Classifier:
        """Return this classifier with one thread per inference, for streams, in which each worker runs an inference.

        Args:
            batch: images of every inference.
            maps: whether class-activation maps are computed.
        """
        same = self.threads == 1 and self.batch == batch and (self.maps or not maps)
        return self if same else Classifier(self.bundle, threads=1, spinning=False, batch=batch, maps=maps)

    def run(self, pixels: Pixels) -> Outputs:
        """Classify preprocessed images.

        Args:
            pixels: (N, size, size, 3) uint8 RGB, as `lentigo.imaging.load` makes them; N at least 1.

        Raises:
            BundleError: the network answers with NaN or infinity.
            ValueError: ``pixels`` has another shape or type.
        """
        if (
            pixels.ndim != 4
            or len(pixels) == 0
            or pixels.shape[1:] != (self.size, self.size, 3)
            or pixels.dtype != np.uint8
        ):
            raise ValueError(
                f"pixels must be (N, {self.size}, {self.size}, 3) uint8, not {pixels.shape} {pixels.dtype}"
            )
        return self.run_normalised(normalise(pixels, self.spec.input.mean, self.spec.input.std))

    def run_normalised(self, image: Floats) -> Outputs:
        """Classify what `lentigo.imaging.normalise` returned.

        Args:
            image: (N, 3, size, size) float32.

        Raises:
            BundleError: the network answers with NaN or infinity.
        """
        values = self._run(image)
        found = dict(zip(self._outputs, values, strict=True))
        for name, value in found.items():
            if not np.isfinite(value).all():
                raise BundleError(
                    f"{self.bundle.path}: the network's {name} holds NaN or infinity; export the bundle again"
                )
        logits = found["logits"]
        return Outputs(
            logits,
            softmax(logits, self.spec.temperature),
            found["embedding"],
            found.get("cam"),
            found.get("atypicality"),
            found.get(MODALITY),
        )

    def _run(self, image: Floats) -> list[Floats]:
        batch = self.batch
        if batch is not None and len(image) > batch:
            parts = [self._run(image[start : start + batch]) for start in range(0, len(image), batch)]
            return [np.concatenate(values) for values in zip(*parts, strict=True)]
        count = len(image)
        if batch is not None and count < batch:
            image = np.concatenate([image, np.zeros((batch - count, *image.shape[1:]), np.float32)])
        try:
            values: list[Floats] = self._session.run(self._outputs, {"image": image})
        except Exception as error:  # ONNX Runtime's own exception types, whatever went wrong inside
            raise BundleError(f"{self.bundle.model}: cannot be run ({first_line(error)})") from None
        return [value[:count] for value in values]

    @overload
    def predict(self, source: ImageSource, metadata: Mapping[str, object] | None = None) -> Prediction: ...  # type: ignore[overload-overlap]  # a str is a sequence of str
    @overload
    def predict(
        self, source: Sequence[ImageSource], metadata: Sequence[Mapping[str, object]] | None = None
    ) -> list[Prediction]: ...

    def predict(
        self,
        source: ImageSource | Sequence[ImageSource],
        metadata: Mapping[str, object] | Sequence[Mapping[str, object]] | None = None,
    ) -> Prediction | list[Prediction]:
        """Classify one image, or several.

        For folders, archives and long lists use `predict_paths`, which holds a bounded number of images.

        Args:
            source: a path, encoded bytes, a binary file, a Pillow image, an (H, W, 3) uint8 RGB array,
                or a list or tuple of these.
            metadata: ``age``, ``sex`` and ``site``, as far as they are known, of each image; see `check_metadata`.

        Returns:
            One prediction, or a list in the order given.

        Raises:
            ImageError: an image that cannot be read.
            DataError: the model takes no metadata, or a value is unknown to it.
            BundleError: the network answers with NaN or infinity.
        """
        if not isinstance(source, list | tuple):
            return self._predict([source], None if metadata is None else [metadata])[0]  # type: ignore[list-item]
        if metadata is not None and len(metadata) != len(source):
            raise ValueError(f"metadata of {len(metadata)} images for {len(source)}")
        found: list[Prediction] = []
        for start in range(0, len(source), CHUNK):
            chunk = slice(start, start + CHUNK)
            found += self._predict(source[chunk], None if metadata is None else metadata[chunk])  # type: ignore[index, arg-type]
        return found

    def check_metadata(self) -> Metadata:
        """Return the model's likelihood ratios of age, sex and site.

        Raises:
            DataError: the model has none.
        """
        if self.spec.metadata is None:
            raise DataError(f"{self.spec.name} answers from the image alone: it takes no age, sex or site")
        return self.spec.metadata

    def _predict(
        self, sources: Sequence[ImageSource], metadata: Sequence[Mapping[str, object]] | None
    ) -> list[Prediction]:
        for values in metadata or ():
            self.check_metadata().check(values)
        pixels = np.empty((len(sources), self.size, self.size, 3), np.uint8)
        extents: list[tuple[int, int]] = []
        for i, source in enumerate(sources):
            image = open_image(source)
            extents.append(image.size)
            pixels[i] = resize(image, self.size)
        outputs = self.run(pixels)
        found = [self.prediction(outputs, i, pixels[i], source, extents[i]) for i, source in enumerate(sources)]
        if metadata is None:
            return found
        return [self.with_metadata(one, values) for one, values in zip(found, metadata, strict=True)]

    def prediction(
        self, outputs: Outputs, index: int, pixels: Pixels, source: ImageSource | None, extent: tuple[int, int]
    ) -> Prediction:
        """Wrap one image's outputs.

        Args:
            outputs: of a batch.
            index: which of the batch.
            pixels: (size, size, 3) uint8, what the network saw.
            source: where the image came from, or the image itself; None where it is not kept.
            extent: its (width, height) upright, before resizing.
        """
        verdict = self.assess(outputs, index, pixels)
        return Prediction(
            path=str(source) if isinstance(source, str | Path) else None,
            model=self.spec.name,
            labels=self.labels,
            probabilities=outputs.probabilities[index],
            logits=outputs.logits[index],
            embedding=outputs.embedding[index],
            cam=None if outputs.cam is None else outputs.cam[index],
            pixels=pixels,
            extent=extent,
            source=source,
            **vars(verdict),
        )

    def with_metadata(self, prediction: Prediction, metadata: Mapping[str, object]) -> Prediction:
        """Update a prediction by age, sex and site; the same object is returned if they change nothing.

        Args:
            prediction: of this classifier, from the image alone.
            metadata: as `predict` takes it.

        Raises:
            DataError: the model takes no metadata, or a value is unknown to it.
        """
        before = prediction.probabilities[None]
        after = self.check_metadata().update(before, [metadata])
        if (after == before).all():
            return prediction
        faults = assess_quality(prediction.pixels)
        score, modality = prediction.atypicality, prediction.modality
        verdict = assess(self.spec, after[0].tolist(), score, faults, before[0].tolist(), modality)
        return replace(prediction, probabilities=after[0], **vars(verdict))

    def assess(self, outputs: Outputs, index: int, pixels: Pixels) -> Verdict:
        """Assess one image's outputs by the bundle's thresholds and the image's quality.

        Args:
            outputs: of a batch.
            index: which of the batch.
            pixels: (size, size, 3) uint8, what the network saw.
        """
        atypicality, modality = outputs.ood(index)
        probabilities = outputs.probabilities[index].tolist()
        return assess(self.spec, probabilities, atypicality, assess_quality(pixels), modality=modality)


def load(
    name_or_path: str | Path = DEFAULT, *, threads: int | None = None, batch: int | None = None, maps: bool = True
) -> Classifier:
    """Load a classifier by the name of a packaged bundle, from a folder, or from the Hugging Face Hub.

    Args:
        name_or_path: a packaged bundle's name, a bundle folder, a run folder that has one, or
            ``hf://USER/NAME[@REVISION]``.
        threads: threads of one inference; None takes all cores.
        batch: images of every inference, where that is known (quicker; see `Classifier`).
        maps: whether class-activation maps are computed (quicker without).

    Raises:
        BundleError: no such bundle (the message names the nearest), or a damaged one.
        MissingExtraError: the hub is asked for without huggingface-hub.
    """
    return Classifier(find_bundle(name_or_path), threads=threads, batch=batch, maps=maps)


def find_bundle(name_or_path: str | Path = DEFAULT) -> Bundle:
    """Open a bundle by the name of a packaged one, from a folder or from the hub; see `load`."""
    if is_address(name_or_path):
        return fetch_bundle(name_or_path)
    name = str(name_or_path)
    path = Path(name_or_path)
    if path.exists() or isinstance(name_or_path, Path) or os.sep in name or name in {".", ".."}:
        if path.is_file() and path.name == SPEC:
            path = path.parent
        return Bundle.open(path)
    packaged = packaged_bundles()
    if name not in packaged:
        hint = did_you_mean(name, packaged) if packaged else "; none is packaged with this installation"
        raise BundleError(f"no model {name!r}{hint} (or give the path of a bundle or run folder)")
    return Bundle.open(PACKAGED / name)


def packaged_bundles() -> list[str]:
    """Return the names of the bundles that come with lentigo, sorted."""
    return sorted(spec.parent.name for spec in PACKAGED.glob(f"*/{SPEC}"))


def _expected_outputs(spec: Spec, *, maps: bool) -> dict[str, list[int]]:
    """Return the outputs to compute, and their shapes without the batch axis."""
    expected: dict[str, list[int]] = {"logits": [len(spec.classes)], "embedding": [spec.outputs.embedding]}
    if maps and spec.outputs.cam is not None:
        expected["cam"] = [len(spec.classes), *spec.outputs.cam]
    if spec.outputs.atypicality:
        expected["atypicality"] = []
    return expected


def _check_graph(session: Any, bundle: Bundle, expected: dict[str, list[int]]) -> list[str]:
    """Return the names of the outputs to compute; refuse a graph that does not match the specification."""
    spec = bundle.spec
    inputs = {i.name: i.shape for i in session.get_inputs()}
    outputs = {o.name: o.shape for o in session.get_outputs()}
    if MODALITY in outputs:
        expected = {**expected, MODALITY: [len(MODALITIES)]}
    wrong = _mismatch(inputs, {"image": [3, spec.input.size, spec.input.size]}) or _mismatch(outputs, expected)
    if wrong:
        raise BundleError(f"{bundle.model}: {wrong}; the graph and {SPEC} do not belong together")
    return list(expected)


def _mismatch(found: dict[str, Any], expected: dict[str, list[int]]) -> str:
    for name, shape in expected.items():
        if name not in found:
            return f"has no {name!r} (only {', '.join(found)})"
        # Symbolic dimensions come as text or None and may be anything.
        pairs = zip(found[name][1:], shape, strict=False)
        if len(found[name]) != len(shape) + 1 or any(isinstance(a, int) and a != b for a, b in pairs):
            return f"{name!r} has shape {found[name]}, {SPEC} says {['N', *shape]}"
    return ""

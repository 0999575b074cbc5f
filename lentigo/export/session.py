"""A serialised graph in ONNX Runtime, outside a bundle."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

FloatArray = npt.NDArray[np.float32]


class Session:
    """A session that runs a serialised graph on the CPU.

    Args:
        content: the serialised model.
        threads: threads within one operator; 0 for ONNX Runtime's choice.
    """

    def __init__(self, content: bytes, *, threads: int = 0) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self._session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self.outputs: tuple[str, ...] = tuple(output.name for output in self._session.get_outputs())

    def __call__(self, image: FloatArray) -> dict[str, FloatArray]:
        """Run the graph.

        Args:
            image: (N, 3, S, S) float32, normalised.

        Returns:
            The outputs by name.
        """
        return dict(zip(self.outputs, self._session.run(list(self.outputs), {"image": image}), strict=True))

"""The network on LiteRT, TensorFlow's runtime for processors.

It needs about half the processor time of Keras on TensorFlow for the same float32 answers (its
convolutions are XNNPACK's), and neither TensorFlow's seconds of loading nor its memory.
"""

from __future__ import annotations

from threading import Lock

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from rustvid.chatter import silenced
from rustvid.method.classify import Answer


class LiteRTNetwork:
    """One pass: (n, height, width, 3) uint8 RGB to an Answer; one picture after the other.

    flatbuffer: see conversion.converted; threads: that compute a picture
    A picture alone stays in the processor's cache, which four together do not; and its answer
    does not depend on its neighbours.
    """

    def __init__(self, flatbuffer: bytes, threads: int) -> None:
        with silenced():  # it says once what it computes with
            self._interpreter = Interpreter(model_content=flatbuffer, num_threads=threads)
            self._interpreter.allocate_tensors()
        self._turn = Lock()  # an interpreter has one set of tensors
        self._picture = self._interpreter.get_input_details()[0]["index"]
        outputs = self._interpreter.get_output_details()
        self._probability, self._evidence = (output["index"] for output in outputs)

    def __call__(self, pictures: NDArray[np.uint8]) -> Answer:
        """The answer for any number of pictures."""
        with self._turn:
            answers = [self._of_one(pictures[i : i + 1]) for i in range(len(pictures))]
        probability, evidence = zip(*answers, strict=True)
        return Answer(np.concatenate(probability), np.concatenate(evidence))

    def _of_one(
        self, picture: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        self._interpreter.set_tensor(self._picture, picture)
        self._interpreter.invoke()
        probability = self._interpreter.get_tensor(self._probability)
        return probability, self._interpreter.get_tensor(self._evidence)

"""Classifiers in ONNX form, by the extra `onnx`: texts in, probabilities out.

The model takes one tensor of strings, [texts] or [texts, 1], and gives what exported pipelines
give: a tensor of probabilities, [texts] or [texts, classes], or a list of maps from label to
probability. A model that wants tokens is none of these: whoever exports it can put the tokenizer
inside.
"""

import functools
import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from cleanpipe.errors import RecipeError

BATCH = 64
"""Texts in one call; more gain nothing on one thread, and cost memory."""
SLACK = 1e-4  # of a sum of float32 probabilities around 1


@functools.lru_cache(maxsize=16)
def loaded(path: str) -> Any:
    """The session of a file, once a process.

    Errors: RecipeError without the extra, and for a file that is no model of texts.
    """
    try:
        import onnxruntime  # noqa: PLC0415 - an extra
    except ImportError:
        raise RecipeError(f"{path}: ONNX models need: pip install 'cleanpipe[onnx]'") from None
    options = onnxruntime.SessionOptions()
    # one thread: a worker a processor is enough, and sums keep their order
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - its exceptions share no class of their own
        raise RecipeError(f"{path}: ONNX Runtime cannot load it: {_first_line(error)}") from None
    given = [(entry.name, entry.type, entry.shape) for entry in session.get_inputs()]
    if len(given) != 1 or given[0][1] != "tensor(string)" or len(given[0][2]) > 2:
        shown = ", ".join(f"{name}: {kind}{shape}" for name, kind, shape in given)
        raise RecipeError(
            f"{path} takes {shown}: expected one tensor(string) of texts; export the model with "
            "its tokenizer or vectorizer inside"
        )
    return session


def labels(path: str) -> tuple[str, ...]:
    """The labels of a model: those of its maps, or the numbers of its classes, from 0.

    A model with one probability a text has the label 1.
    """
    return tuple(_by_label(path, [""]))


def probabilities(path: str, label: str, texts: Iterable[str]) -> npt.NDArray[np.float64]:
    """The probability of the label for each text, NaN where the model gives none.

    Errors: RecipeError for a model that fails, or gives something else than probabilities.
    """
    found = [np.zeros(0)]
    source = iter(texts)
    while batch := list(itertools.islice(source, BATCH)):
        scores = _by_label(path, batch)[label]
        wrong = scores[(scores < -SLACK) | (scores > 1 + SLACK)]
        if len(wrong):
            raise RecipeError(f"{path} gives {wrong[0]:g}: expected probabilities, 0 to 1")
        found.append(scores)
    return np.concatenate(found)


def _by_label(path: str, texts: list[str]) -> dict[str, npt.NDArray[np.float64]]:
    session = loaded(path)
    given, known = session.get_inputs()[0], session.get_outputs()
    wanted = [out for out in known if out.type.startswith(("tensor(float", "tensor(double", "seq"))]
    if not wanted:
        kinds = ", ".join(out.type for out in known)
        raise RecipeError(f"{path} gives {kinds}: expected a tensor(float) or maps of label: float")
    array = np.array(texts, dtype=object).reshape([len(texts)] + [1] * (len(given.shape) == 2))
    try:
        result = session.run([wanted[0].name], {given.name: array})[0]
    except Exception as error:  # noqa: BLE001 - as above
        raise RecipeError(f"{path} fails on a text: {_first_line(error)}") from None
    if len(result) != len(texts):
        raise RecipeError(f"{path} gives {len(result)} results for {len(texts)} texts")
    if isinstance(result, list):
        names = dict.fromkeys(name for entry in result for name in entry)
        return {
            str(name): np.array([entry.get(name, np.nan) for entry in result], np.float64)
            for name in names
        }
    table = np.asarray(result, np.float64).reshape(len(texts), -1)
    numbers = [1] if table.shape[1] == 1 else range(table.shape[1])
    return {str(number): table[:, place] for place, number in enumerate(numbers)}


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]

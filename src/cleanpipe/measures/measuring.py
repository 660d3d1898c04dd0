"""The recipe's `measure`: what is measured beside the measures that every document has."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)

from cleanpipe.errors import RecipeError
from cleanpipe.kernels.buffers import text_buffers
from cleanpipe.kernels.counts import Count, Counts
from cleanpipe.kernels.token_ids import measure_ids
from cleanpipe.measures import custom, evaluations, tokenizer
from cleanpipe.measures.classifier import Classifier
from cleanpipe.measures.evaluations import Evaluations
from cleanpipe.measures.language import Language
from cleanpipe.rules.filter import MEASURES, OF_CUTS, OF_EVALUATIONS
from cleanpipe.store import file_hash

# fmt: off
RESERVED = frozenset({
    "augmented_by", "copies", "copy", "early", "fixes", "given", "has_id", "id", "key", "ngrams",
    "row", "shard", "shared", "source", "text", "text_hi", "text_lo", "urls", "where"
})
# fmt: on
"""Names that tables, parts or the recipe's sections have already; so are those of bands."""


def _free(name: str, others: Collection[str] = ()) -> str:
    """The name, if a measure of the user's own can have it.

    Errors: ValueError.
    """
    if name in {*MEASURES, *OF_EVALUATIONS, *OF_CUTS, "tokens", *others}:
        raise ValueError(f"{name!r} is a measure already; choose another name")
    if name in RESERVED or name.startswith("band_"):
        raise ValueError(f"{name!r} is a name of our own tables; choose another name")
    return name


Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$"), AfterValidator(_free)]


def _with_path(given: object) -> object:
    return {"path": given} if isinstance(given, str) else given


def _absent(given: object) -> object:
    return None if given is False else given


Given = Annotated[Classifier, BeforeValidator(_with_path, json_schema_input_type=str | Classifier)]


class Measure(BaseModel):
    """What is measured beside the text's own measures."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    language: bool | Language = True
    """Whether `lang` and `lang_score` are found out: costs more time than all other measures.
    A mapping chooses the model, `{model: glotlid.bin}`, and the threshold."""
    tokenizer: Annotated[str, Field(min_length=1)] | None = None
    """A tokenizer.json, from the recipe's folder: it gives the measure `tokens`, and the stability
    measures of tokens are those of its tokens, in place of words and symbols. It codes about 2 MB/s
    a core, and needs the extra `tokens`."""
    evaluations: Annotated[
        Evaluations | None,
        BeforeValidator(_absent, json_schema_input_type=Evaluations | Literal[False] | None),
    ] = None
    """Evaluation sets whose examples are looked for in the documents, such as
    `{sets: {gsm8k: gsm8k.jsonl}}`: `contaminated_words`, `contaminated_frac`, and
    `seen_example_frac`, by which `filter` can drop documents. See docs/decontaminate.md."""
    models: Mapping[Name, Given] = {}
    """Measures by your own fastText classifiers: `{quality: quality.bin}` makes a measure `quality`
    of the probability that the model gives to its label `good`."""
    custom: Annotated[tuple[str, ...], Field(max_length=100)] = ()
    """Measures by your own functions, each as `package:function` of an installed package."""

    def identifier(self) -> Language | None:
        """What finds out the language, if anything does."""
        if isinstance(self.language, Language):
            return self.language
        return Language() if self.language else None

    def own(self) -> dict[str, pl.DataType]:
        """The measures that this recipe adds to everyone's, and their types.

        Errors: RecipeError if a custom function cannot be had, or two of them share a name.
        """
        found: dict[str, pl.DataType] = dict.fromkeys(self.models, pl.Float64())
        if self.tokenizer is not None:
            found["tokens"] = pl.Int64()
        if self.evaluations is not None:
            found |= evaluations.MEASURES
        for function in self.custom:
            for name, kind in custom.schema(function).items():
                try:
                    _free(name, found)
                except ValueError as error:
                    raise RecipeError(
                        f"measure.custom: {function} gives a column: {error}"
                    ) from None
                found[name] = kind
        return found

    def tokens(self, texts: pa.LargeStringArray, counts: Counts) -> list[pl.Series]:
        """The number of each text's tokens, if there is a tokenizer.

        Then `counts`, of a scan of the texts, gets the measures of repeats of these tokens.
        """
        if self.tokenizer is None:
            return []
        places, ids = tokenizer.encode(self.tokenizer, *text_buffers(texts))
        measure_ids(places, ids, counts)
        return [pl.Series("tokens", np.diff(places))]

    def columns(self, texts: pa.LargeStringArray) -> list[pl.Series]:
        """Language, models' scores and custom columns of each text."""
        buffers = text_buffers(texts)
        found: list[pl.Series] = []
        identifier = self.identifier()
        if identifier is not None:
            found += identifier.identify(*buffers).get_columns()
        found += [model.scores(*buffers).alias(name) for name, model in self.models.items()]
        for name in self.custom:
            found += custom.columns(name, texts).get_columns()
        return found

    def check(self) -> None:
        """Load every model and call every function, on next to nothing.

        Errors: RecipeError for the first that cannot be had. A damaged model may end the process.
        """
        self.own()
        texts = pa.array(["", "a"], pa.large_string())
        self.tokens(texts, np.zeros((len(texts), len(Count)), np.int64))
        for path, alone in self.alone().items():
            try:
                alone.columns(texts)
            except (MemoryError, RuntimeError, ValueError) as error:
                raise broken(path, str(error) or type(error).__name__) from None
        self.columns(texts)

    def alone(self) -> dict[str, "Measure"]:
        """Each file of a model, and what it measures alone."""
        found = {
            model.path: Measure(language=False, models={name: model})
            for name, model in self.models.items()
        }
        identifier = self.identifier()
        if identifier is not None:
            found[identifier.path()] = Measure(language=identifier)
        return found

    def packages(self) -> tuple[str, ...]:
        """The packages, besides everyone's, whose versions may change what is measured."""
        uses_onnx = any(model.path.endswith(".onnx") for model in self.models.values())
        wanted = {"tokenizers": self.tokenizer is not None, "onnxruntime": uses_onnx}
        return tuple(package for package, is_used in wanted.items() if is_used)

    def identity(self) -> dict[str, Any]:
        """The contents behind the recipe's names: a changed model or function is another run."""
        files = {name: model.path for name, model in self.models.items()}
        if isinstance(self.language, Language) and self.language.model is not None:
            files["lang"] = self.language.model
        return {
            "models": {name: _hash(path) for name, path in sorted(files.items())},
            "tokenizer": None if self.tokenizer is None else _hash(self.tokenizer),
            "evaluations": {} if self.evaluations is None else self.evaluations.identity(),
            "custom": {name: custom.identity(name) for name in self.custom},
        }


def broken(path: str, what: str) -> RecipeError:
    """The error of a model that cannot be used."""
    return RecipeError(f"{path} is damaged: {what}; get the model's whole file again")


def _hash(path: str) -> str:
    try:
        return file_hash(Path(path))
    except OSError as error:
        raise RecipeError(f"{path}: the file cannot be read: {error.strerror}") from None

"""The kernels, compiled before the workers start, so that each does not compile them for itself."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from cleanpipe import kernels
from cleanpipe.duplicates import cuts
from cleanpipe.duplicates.cuts import Cuts
from cleanpipe.kernels import overlap
from cleanpipe.kernels.buffers import text_buffers
from cleanpipe.kernels.components import repeated
from cleanpipe.kernels.jaccard import secret_key
from cleanpipe.measures.evaluations import Evaluations, table
from cleanpipe.measures.measure import signatures
from cleanpipe.recipes.recipe import Recipe
from cleanpipe.text.line_rules import Lines

TEXTS = (
    "Four documents are cleaned here, so that every kernel runs once and is compiled.",
    "Four documents are cleaned here, so that every kernel runs once and is compiled!",
    "Not  everything \\u00c3\\u00a9 needs repair.\\r\\n\\n\\n\\nSome of it does.",
    "",
)


class Here:
    """A pool without processes: calls run in this one."""

    workers = 1

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run one call and wait for it."""
        return function(*arguments)

    def fails(self, share: float, function: Callable[..., Any], *arguments: Any) -> None:
        """Run one call; what ends the process ends this one."""
        del share
        function(*arguments)

    def close(self) -> None:
        """Nothing runs elsewhere."""


def compile_line_rules(rules: Lines, say: Callable[[str], None]) -> None:
    """Compile the kernel of the line rules, which most recipes leave off, where any is on."""
    if rules and not kernels.is_compiled("line_rules"):
        say("compiling the line rules: about 20 seconds, once for this version")
        rules.apply(pa.array(TEXTS, pa.large_string()))


def compile_evaluations(evaluations: Evaluations | None, say: Callable[[str], None]) -> None:
    """Compile the kernel that looks for evaluation sets, where a recipe names any."""
    if evaluations is not None and not kernels.is_compiled("overlap"):
        say("compiling the search for evaluation sets: about 15 seconds, once for this version")
        texts, key = pa.array(TEXTS, pa.large_string()), secret_key(1)
        runs = evaluations.runs(texts, 1)
        overlap.shared(*text_buffers(texts), table([runs], evaluations.ngram), *key)


def compile_cuts(chosen: Cuts | None, say: Callable[[str], None]) -> None:
    """Compile the kernels that find and cut what repeats, where a recipe asks for it."""
    if chosen is not None and not kernels.is_compiled("cuts"):
        say("compiling the search for repeats: about 10 seconds, once for this version")
        texts = pa.array(TEXTS, pa.large_string())
        spans = chosen.spans(texts, 1)
        repeated(spans["lo"].copy())
        cut = pl.DataFrame({"row": [0], "start": [0], "end": [4]})
        cuts.remove(texts, np.arange(len(texts), dtype=np.uint64), cut)


def compile_kernels(clean: Callable[[Recipe, Here], Any], say: Callable[[str], None]) -> None:
    """Compile what is not compiled yet, by cleaning four documents in this process."""
    if kernels.is_compiled():
        return
    say("compiling kernels: about a minute, once for this version")
    with tempfile.TemporaryDirectory() as folder:
        shard = Path(folder) / "four.jsonl"
        shard.write_text("".join(f'{{"text": "{text}"}}\n' for text in TEXTS), encoding="utf-8")
        recipe = Recipe.model_validate(
            {
                "input": {"path": str(shard)},
                "dedup": {},
                "seed": 1,
                "output": {"path": str(Path(folder) / "out")},
            }
        )
        clean(recipe, Here()).decide()
    signatures(TEXTS, shingle="chars")

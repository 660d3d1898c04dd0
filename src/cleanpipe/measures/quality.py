"""A classifier of one's own: examples of good and bad documents -> a fastText model.

The examples go the way that documents go: read by the same readers, normalized by the same fixes,
cut to the same sample, so that the model is trained on what `measure.models` will show it. A fifth
of them is held out, chosen by the hash of the text: equal texts stand on one side.
"""

import contextlib
import importlib
import importlib.metadata
import math
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cleanpipe import store
from cleanpipe.errors import RecipeError
from cleanpipe.input import corpus, readers
from cleanpipe.kernels import hashing
from cleanpipe.kernels.buffers import text_buffers
from cleanpipe.measures.classifier import Classifier
from cleanpipe.measures.fasttext_models import UNIT, one_line, samples
from cleanpipe.text.normalize import Normalize

Tell = Callable[[str, int, int], None]
LABELS = ("good", "bad")
LEAST = 100
"""Distinct examples of each kind: with fewer the held-out scores are noise, too."""
TRAINER = "fasttext-new"
DIVISIONS = 64
"""Files that examples are sorted in, one at a time: memory is a 64th of them, about."""
BLOCK_OF_LINES = 1_000
MEGABYTES_A_SECOND = 10.0
"""Of text, each epoch anew: 9 (`dim` 100) to 14 (`dim` 10) on 8 MB of newsgroups and one processor.
Only to say how long training will take."""
THRESHOLDS = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
Counts = dict[str, dict[str, int]]
_SCHEMA = {"lo": pl.UInt64, "hi": pl.UInt64, "good": pl.Boolean, "line": pl.String}


class Fit(BaseModel):
    """How a classifier is trained. The same examples and options give the same bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    text: str = "text"
    """The column of the examples that holds the text."""
    seed: int = Field(default=0, ge=0, lt=1 << 31)
    """The start of all chance: of the split, of the order, of training."""
    epochs: int = Field(default=10, ge=1, le=1000)
    """How often training sees each example: more fits closer, and takes longer."""
    ngrams: Literal[1, 2, 3] = 2
    """The longest run of words that is a feature: 1 sees words alone."""
    held_out: float = Field(default=0.2, ge=0.05, le=0.5)
    """The share of the examples that is not trained on, but scored."""
    dim: int = Field(default=10, ge=1, le=1000)
    """Numbers a word. Ten are enough for a few classes (Joulin et al. 2016, arXiv 1607.01759)."""
    bucket: int = Field(default=1 << 18, ge=1, le=1 << 26)
    """Slots that runs of words share; each costs `dim` float32 of the model's file."""
    lr: float = Field(default=0.5, gt=0, le=10, allow_inf_nan=False)
    """The learning rate at the beginning; it falls to zero."""
    most_bytes: int = Classifier.model_fields["most_bytes"].default
    """Of longer examples head, middle and tail count, as they do in `measure.models`."""

    def train(self, good: str, bad: str, output: Path, tell: Tell) -> dict[str, Any]:
        """Train a model of the documents in two paths or patterns, write it, and score it.

        Gives the counts, and the scores on the examples that were held out.

        Errors: RecipeError for too few examples, and where no trainer is installed; InputError,
        OutputError.
        """
        trainer = _trainer()
        if output.suffix == ".onnx":
            raise RecipeError(f"{output}: what is written is a fastText model: name it .bin")
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".tmp-fit-", dir=output.parent) as folder:
                return self._train(trainer, (good, bad), output, Path(folder), tell)
        except OSError as error:
            raise store.cannot_write(output, error) from error

    def _train(
        self, trainer: Any, paths: tuple[str, str], output: Path, folder: Path, tell: Tell
    ) -> dict[str, Any]:
        names = ("read", "quarantined", "trained_on", "held_out")
        counts: Counts = {label: dict.fromkeys(names, 0) for label in LABELS}
        self._divide(paths, folder, counts, tell)
        known = self._sort(folder, counts)
        for label, path in zip(LABELS, paths, strict=True):
            _enough(label, path, counts[label])
        model = folder / "model.bin"
        self._fit(trainer, folder / "training.txt", model, tell)
        scores = self._score(model, folder / "held_out.txt", tell)
        with model.open("rb") as file:
            record = store.write_file(output, lambda to: shutil.copyfileobj(file, to))
        return {
            "model": str(output),
            "bytes": record["bytes"],
            "examples": counts,
            **known,
            **scores,
            "options": self.model_dump(),
            "trainer": f"{TRAINER} {importlib.metadata.version(TRAINER)}",
        }

    def _fit(self, trainer: Any, training: Path, model: Path, tell: Tell) -> None:
        megabytes = training.stat().st_size / 1e6
        about = megabytes * self.epochs / MEGABYTES_A_SECOND
        step = (
            f"train on {megabytes:.1f} MB, {self.epochs} times (elsewhere "
            f"{MEGABYTES_A_SECOND:.0f} MB took a second), seconds"
        )
        with _clock(step, math.ceil(about), tell):
            made = trainer.train_supervised(
                input=str(training),
                epoch=self.epochs,
                lr=self.lr,
                dim=self.dim,
                wordNgrams=self.ngrams,
                bucket=self.bucket if self.ngrams > 1 else 0,
                minCount=2,  # a word of one example tells of that example alone
                seed=self.seed,
                thread=1,  # more would race for the same numbers: the result would be their speed's
                verbose=0,
            )
            made.save_model(str(model))

    def _divide(self, paths: tuple[str, str], folder: Path, counts: Counts, tell: Tell) -> None:
        """All examples, in files by the upper bits of their texts' hashes."""
        schema = pl.DataFrame(schema=_SCHEMA).to_arrow().schema
        with contextlib.ExitStack() as files:
            writers = [
                files.enter_context(pa.ipc.new_file(str(folder / f"{number:02d}.arrow"), schema))
                for number in range(DIVISIONS)
            ]
            for label, path in zip(LABELS, paths, strict=True):
                for batch in self._batches(label, path, counts[label], tell):
                    for (number,), rows in batch.group_by(pl.col("lo") // (1 << 58)):
                        writers[int(number)].write_table(rows.to_arrow().cast(schema))

    def _batches(
        self, label: str, path: str, count: dict[str, int], tell: Tell
    ) -> Iterator[pl.DataFrame]:
        """Columns lo, hi, good, line: a row an example that has a text."""
        given = corpus.Input(path=path, text=self.text)
        shards = corpus.find_shards([given])
        for done, shard in enumerate(shards, 1):
            for span in corpus.index_shard(shard, given).spans:
                for batch in readers.read(span, shard, given):
                    count["quarantined"] += len(batch.quarantined)
                    texts = Normalize().apply(batch.texts.drop_null()).texts
                    texts = texts.filter(pc.greater(pc.binary_length(texts), 0))
                    count["read"] += len(texts)
                    yield self._rows(texts, label)
            tell(f"read {label} examples", done, len(shards))

    def _rows(self, texts: pa.LargeStringArray, label: str) -> pl.DataFrame:
        offsets, data = text_buffers(texts)
        lo, hi = hashing.hash_texts(offsets, data, np.uint64(self.seed))
        # a word with the prefix of labels would be one
        lines = [
            one_line(text).replace("__label__", "")
            for text in samples(offsets, data, self.most_bytes)
        ]
        columns = {"lo": lo, "hi": hi, "good": [label == "good"] * len(lines), "line": lines}
        return pl.DataFrame(columns, schema=_SCHEMA)

    def _sort(self, folder: Path, counts: Counts) -> dict[str, int]:
        """Write training.txt and held_out.txt, in the order of hashes; count what goes where.

        That order depends on the texts alone, and mixes good and bad, as training needs it.
        """
        alone = both = 0
        with (
            (folder / "training.txt").open("w", encoding="utf-8", newline="\n") as training,
            (folder / "held_out.txt").open("w", encoding="utf-8", newline="\n") as held_out,
        ):
            for number in range(DIVISIONS):
                path = folder / f"{number:02d}.arrow"
                rows = pl.read_ipc(path)
                path.unlink()
                kinds = rows.group_by("lo", "hi").agg(
                    pl.col("good", "line").first(), clear=pl.col("good").n_unique() == 1
                )
                clear = kinds.filter("clear").sort("lo", "hi")
                alone += clear.height
                both += kinds.height - clear.height
                for hi, good, line in clear.select("hi", "good", "line").iter_rows():
                    held = hi < self.held_out * 2.0**64
                    label = LABELS[not good]
                    counts[label]["held_out" if held else "trained_on"] += 1
                    (held_out if held else training).write(f"__label__{label} {line}\n")
        read = sum(counts[label]["read"] for label in LABELS)
        return {"in_both": both, "repeated": read - alone - both}

    def _score(self, model: Path, held_out: Path, tell: Tell) -> dict[str, Any]:
        """The scores of the held-out examples, as a run would measure them."""
        classifier = Classifier(path=str(model), label="good", most_bytes=1 << 30)
        found = {label: [np.zeros(0)] for label in LABELS}
        with held_out.open(encoding="utf-8", newline="\n") as lines:
            while block := [line for line, _ in zip(lines, range(BLOCK_OF_LINES), strict=False)]:
                given = pl.Series(block).str.strip_suffix("\n").str.splitn(" ", 2).struct
                labels = given.field("field_0").str.strip_prefix("__label__")
                texts = given.field("field_1").to_arrow().cast(pa.large_string())
                scores = classifier.scores(*text_buffers(texts))
                for label in LABELS:
                    found[label].append(scores.filter(labels == label).to_numpy())
        tell("score what was held out", 1, 1)
        return scored(np.concatenate(found["good"]), np.concatenate(found["bad"]))


@contextlib.contextmanager
def _clock(step: str, about: int, tell: Tell) -> Iterator[None]:
    """Tell every second how many have passed, of about how many: the trainer itself tells nothing.

    What takes longer than was said is told to take a second more, again and again.
    """
    done = threading.Event()
    passed = 1

    def count() -> None:
        nonlocal passed
        while not done.wait(1):
            tell(step, passed, max(about, passed + 1))
            passed += 1

    tell(step, 0, max(about, 1))
    clock = threading.Thread(target=count, daemon=True)
    clock.start()
    try:
        yield
    finally:
        done.set()
        clock.join()
    tell(step, passed, passed)


def chosen(**options: Any) -> Fit:
    """The options as a command line gives them.

    Errors: RecipeError for the first that cannot be.
    """
    try:
        return Fit(**options)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0]).replace("_", "-")
        what = first["msg"].replace("Input should be", "expected")
        raise RecipeError(f"--{name}: {what}, found {first['input']!r}") from None


def _trainer() -> Any:
    try:
        return importlib.import_module("fasttext_new")
    except ImportError:
        raise RecipeError(
            "quality fit needs a trainer of fastText models: pip install 'cleanpipe[quality]'; a "
            "model that was trained elsewhere needs none (measure.models)"
        ) from None


def _enough(label: str, path: str, count: Mapping[str, int]) -> None:
    distinct = count["trained_on"] + count["held_out"]
    if distinct < LEAST or not count["held_out"]:
        raise RecipeError(
            f"{path}: {distinct} {label} examples that are distinct and not among the others, too "
            f"few to train on and to be scored: give {LEAST} at least; some thousands are better"
        )


def scored(good: npt.NDArray[np.float64], bad: npt.NDArray[np.float64]) -> dict[str, Any]:
    """How well scores (0..1, in 65,536ths, NaN for none) tell good from bad.

    AUROC is the chance that a good one has a higher score than a bad one, ties for half. A
    threshold's precision is the share of good ones among those that reach it, its recall the share
    of the good that do; precision is None where none does. All are quotients of two integers.

    >>> found = scored(np.array([0.75, 0.5, 1.0]), np.array([0.25, 0.5]))
    >>> found["auroc"], found["thresholds"][6]
    (0.9166666666666666, {'low': 0.5, 'precision': 0.75, 'recall': 1.0, 'bad_kept': 0.5})
    """
    kinds = [
        np.bincount((s[~np.isnan(s)] * UNIT).astype(np.int64), minlength=65537) for s in (good, bad)
    ]
    above = [counts[::-1].cumsum()[::-1] for counts in kinds]  # how many have this score or more
    goods, bads = (int(counts[0]) for counts in above)
    below = np.cumsum(kinds[1]) - kinds[1]
    wins = int((kinds[0] * (2 * below + kinds[1])).sum())
    table = []
    for low in THRESHOLDS:
        place = math.ceil(low * UNIT)
        kept, wrong = int(above[0][place]), int(above[1][place])
        table.append(
            {
                "low": low,
                "precision": kept / (kept + wrong) if kept + wrong else None,
                "recall": kept / goods if goods else None,
                "bad_kept": wrong / bads if bads else None,
            }
        )
    return {
        "auroc": wins / (2 * goods * bads) if goods and bads else None,
        "without_score": int(np.isnan(good).sum() + np.isnan(bad).sum()),
        "thresholds": table,
    }

"""The order of a training: from a step log or a table of places to documents, if it is proved."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import orjson
import polars as pl

from cleanpipe.errors import InputError
from cleanpipe.export import step_log
from cleanpipe.export.exposure import Export, digests
from cleanpipe.stability.attribution import alignment
from cleanpipe.stability.attribution.batches import Batches


def export_of(order: Path, folder: Path | None) -> Export:
    """The export that an order's places are in: the folder named, or the order's own."""
    own = folder or order.parent
    if not (own / "export.json").is_file():
        raise InputError(
            f"{own} holds no export.json: name the folder of token files that the training read, "
            "--export FOLDER"
        )
    return Export.open(own)


def read(
    order: Path, export: Export, steps: pl.DataFrame, ranks: Sequence[Path] = ()
) -> tuple[Batches, alignment.Proof, list[str]]:
    """(batches, proof, notes): who stood in each step's batch, and whether that is proved.

    `steps` is the log, with step and loss; `ranks` are the step logs of the other ranks. Errors:
    InputError for an order that is none.
    """
    spans, recorded, notes = spans_of((order, *ranks), export)
    return Batches.of_spans(export, spans), _proved(export, spans, recorded, steps), notes


def spans_of(
    paths: Sequence[Path], export: Export
) -> tuple[pl.DataFrame, pl.DataFrame | None, list[str]]:
    """(spans, digests, notes) of step logs or tables of places, one a rank."""
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path} is no file: expected a step log or a table of places")
    if paths[0].suffix != ".jsonl" or not _has_digests(paths[0]):
        return pl.concat([step_log.read_table(path) for path in paths]), None, []
    known = step_log.read(export, paths)
    if known.spans is None:
        raise InputError(
            f"{paths[0]} has digests and no places: give StepLog.batch `starts` or `documents`, "
            "or name a table with step, start, length"
        )
    return known.spans, known.digests, known.notes


def _has_digests(order: Path) -> bool:
    with order.open("rb") as file:
        try:
            return "digest" in orjson.loads(file.readline())
        except orjson.JSONDecodeError:
            return False


def _proved(
    export: Export, spans: pl.DataFrame, recorded: pl.DataFrame | None, steps: pl.DataFrame
) -> alignment.Proof:
    if recorded is not None:
        return alignment.by_digest(recorded, digests(export, spans))
    own, bits = alignment.difficulty(export, spans)
    logged = steps.unique("step", keep="last").sort("step")
    loss = logged["loss"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    return alignment.by_losses(own, bits, logged["step"].cast(pl.Int64).to_numpy(), loss)

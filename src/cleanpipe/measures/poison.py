"""A document that ends the process which measures it: kept out of the stages, and accounted for."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from cleanpipe.input.batch import Bad, Batch

REASON = "ends_its_worker"


@dataclass(frozen=True)
class Poison:
    """Where such a document stands, and how the worker ended that measured it."""

    shard: int
    row: int
    how: str


def without(batch: Batch, poison: Sequence[Poison], shard: str) -> Batch:
    """The batch without these documents, each of them a line of its quarantine.

    >>> texts = pa.array(["fine", "evil"], pa.large_string())
    >>> batch = Batch(0, pa.table({"id": ["a", "b"]}), texts, np.array([5, 6], dtype=np.uint64))
    >>> rest = without(batch, [Poison(0, 6, "died: signal 11")], "some.jsonl")
    >>> rest.texts.to_pylist(), rest.quarantined[0].row, rest.quarantined[0].reason
    (['fine'], 6, 'ends_its_worker')
    """
    how = {one.row: one.how for one in poison if one.shard == batch.shard}
    evil = np.isin(batch.rows, np.array(list(how), dtype=np.uint64))
    if not evil.any():
        return batch
    lines = [
        Bad(
            row=int(batch.rows[place]),
            offset=None,
            reason=REASON,
            detail=how[int(batch.rows[place])],
            record=(batch.texts[int(place)].as_py() or "").encode(),
        )
        for place in np.flatnonzero(evil)
    ]
    rest = pa.array(~evil)
    return replace(
        batch,
        table=batch.table.filter(rest),
        texts=batch.texts.filter(rest),
        rows=batch.rows[~evil],
        quarantined=(*batch.quarantined, *(line.quarantine(shard) for line in lines)),
    )

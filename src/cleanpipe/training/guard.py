"""Between a data loader and a training loop: no batch holds more repeats than a bound.

    for batch in Guard(loader, coherent=0.01):
        loss = model(batch["input_ids"], labels=batch["labels"])

Rows wait in a buffer of bounded size. Each batch takes the oldest rows that keep the bound; a row
of repeats waits for a batch that has room, and where no other rows are left it goes with its
repeats masked. What is decided depends on the tokens alone: a rank needs no word from another, and
each gives as many batches as it gets, of the same sizes. No optimizer, no learning rate, no
rollback.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from cleanpipe.kernels.spread import repeat_spans

IDS, LABELS = "input_ids", "labels"
IGNORED = -100
"""The label that torch's cross entropy leaves out."""
TIMES, LEAST = 3, 32
"""Repeats are stretches of LEAST tokens or more in which a span of 1 to 13 stands TIMES times."""
Row = dict[str, Any]


class Guard:
    """The batches of `source`, in another order of rows where repeats would stand together.

    A batch is a mapping of tensors or arrays (n, ...) on the CPU, with input_ids; or input_ids
    alone. Labels are added where there are none, as a copy of input_ids; a row that is let through
    over the bound has IGNORED there at its repeats but for the first time the span stands.
    """

    def __init__(
        self,
        source: Iterable[Any],
        *,
        coherent: float = 0.01,
        room: int = 256,
        shifted: bool = False,
    ) -> None:
        """`coherent` is the most of a batch's tokens that are repeats, `room` the rows that wait.

        `shifted` says that labels are targets: those of the token after, as nanoGPT's y.
        """
        if not 0 < coherent <= 1:
            raise ValueError(f"coherent {coherent}: expected a share, above 0 and up to 1")
        self.source, self.coherent, self.room, self.shifted = source, coherent, room, shifted
        self.consumed = 0
        """Batches that were taken from the source: where it must go on after a resume."""
        self.delayed = 0
        """How often a row was passed over for a batch."""
        self.masked = 0
        """Rows that went with their repeats masked."""
        self._rows: list[Row] = []
        self._coherent: list[int] = []
        self._sizes: list[int] = []

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """As many batches as the source has, of the same sizes."""
        for batch in self.source:
            self._take(batch)
            while self._sizes and len(self._rows) - self._sizes[0] >= self.room:
                yield self._give()
        while self._sizes:
            yield self._give()

    def _take(self, batch: Any) -> None:
        known = dict(batch) if isinstance(batch, Mapping) else {IDS: batch}
        known.setdefault(LABELS, known[IDS])
        ids = np.ascontiguousarray(known[IDS]).astype(np.uint32)
        places = np.arange(len(ids) + 1) * ids.shape[1]
        spans = repeat_spans(ids.ravel(), places, TIMES, LEAST)
        counts = np.bincount(spans[:, 0], spans[:, 2] - spans[:, 1], len(ids))
        self._rows += [{name: value[i] for name, value in known.items()} for i in range(len(ids))]
        self._coherent += counts.astype(int).tolist()
        self._sizes.append(len(ids))
        self.consumed += 1

    def _give(self) -> dict[str, Any]:
        """The next batch: the oldest rows that keep the bound, then the oldest that do not."""
        size = self._sizes.pop(0)
        bound = self.coherent * sum(len(row[IDS]) for row in self._rows[:size])
        chosen: list[int] = []
        used = 0
        for number, count in enumerate(self._coherent):
            if len(chosen) == size:
                break
            if count == 0 or used + count <= bound:
                chosen.append(number)
                used += count
            else:
                self.delayed += 1
        kept = set(chosen)
        late = [number for number in range(len(self._rows)) if number not in kept]
        forced = late[: size - len(chosen)]
        self.masked += len(forced)
        rows = [self._rows[number] for number in chosen]
        rows += [self._with_mask(self._rows[number]) for number in forced]
        gone = kept | set(forced)
        stay = [number for number in range(len(self._rows)) if number not in gone]
        self._rows = [self._rows[number] for number in stay]
        self._coherent = [self._coherent[number] for number in stay]
        return {name: _stacked([row[name] for row in rows]) for name in rows[0]}

    def _with_mask(self, row: Row) -> Row:
        ids = np.asarray(row[IDS]).astype(np.uint32)
        marked = np.zeros(len(ids), bool)
        for _, start, end, period in repeat_spans(ids, np.array([0, len(ids)]), TIMES, LEAST):
            marked[start + period : end] = True
        if self.shifted:
            marked[:-1], marked[-1] = marked[1:].copy(), False
        labels = row[LABELS].clone() if hasattr(row[LABELS], "clone") else row[LABELS].copy()
        labels[np.flatnonzero(marked)] = IGNORED
        return {**row, LABELS: labels}

    def state_dict(self) -> dict[str, Any]:
        """All that the next batch depends on. The source must go on after `consumed` batches."""
        names = list(self._rows[0]) if self._rows else []
        return {
            "consumed": self.consumed,
            "delayed": self.delayed,
            "masked": self.masked,
            "sizes": list(self._sizes),
            "coherent": list(self._coherent),
            "rows": {name: [row[name] for row in self._rows] for name in names},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state; `source` must begin with the batch after those it had consumed."""
        self.consumed, self.delayed, self.masked = (
            state[name] for name in ("consumed", "delayed", "masked")
        )
        self._sizes, self._coherent = list(state["sizes"]), list(state["coherent"])
        columns = state["rows"]
        self._rows = [
            {name: columns[name][i] for name in columns} for i in range(len(self._coherent))
        ]


def _stacked(values: list[Any]) -> Any:
    if hasattr(values[0], "new_tensor"):
        import torch  # noqa: PLC0415 - who has tensors has it

        return torch.stack(values)
    stacked: npt.NDArray[Any] = np.stack(values)
    return stacked

"""From a trainer's step to the tokens of its batch, by the arithmetic of the trainer's own loader.

Each function gives a table of spans (see `export.exposure`). A step is one of the optimizer, and
they are numbered from 0, as the trainers here number them, if nothing else is said. A run that was
resumed follows the arithmetic only if its loader was put back where it was: the digests of
`cleanpipe.training.callback`, or the alignment test, say whether an order is the one that was
trained on.
"""

import gzip
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from cleanpipe.errors import InputError
from cleanpipe.export.exposure import Export, spans

Places = npt.NDArray[np.int64]
RULES = ("llmc", "python", "modded")


def llmc(
    export: Export,
    *,
    sequences: int,
    length: int,
    steps: int,
    micro_steps: int = 1,
    ranks: int = 1,
    rule: str = "llmc",
    shuffled: bool = True,
) -> pl.DataFrame:
    """The spans of `steps` steps of llm.c, or of the loaders in Python that are made after it.

    `sequences` of `length` tokens are what one of `ranks` reads at a time (B and T), `micro_steps`
    times a step. What remains of a file when no whole batch is left is not trained on.

    `rule` llmc is its dataloader.h, which draws the order of files, and of batches within a file,
    unless it was told to overfit a batch: each rank by a generator of its own, seeded with 42 and
    its number. python is that of train_gpt2.py and build-nanogpt, not shuffled, in which each rank
    asks for the room that rank 0 would need after its own place, so that ranks may leave a file at
    different steps. modded is that of modded-nanogpt, which needs one token more to stay in a file.
    """
    if rule not in RULES:
        raise InputError(f"rule {rule}: expected one of {', '.join(RULES)}")
    own = sequences * length
    counts = np.diff(export.first)
    need = own * ranks + 1 + (rule == "modded")
    if counts.min() < need:
        raise InputError(
            f"a file of {export.folder} has {counts.min():,} tokens, and a batch of {ranks} ranks "
            f"needs {need:,}: the trainer would not have run on it"
        )
    found = []
    for rank in range(ranks):
        late = rank * own if rule == "python" else 0
        batches = np.maximum((counts - need - late) // (own * ranks) + 1, 1)
        chance = np.random.RandomState(42 + rank) if shuffled and rule == "llmc" else None
        file, batch = _walked(batches, steps * micro_steps, chance)
        step = np.repeat(np.arange(steps), micro_steps)
        found.append(spans(step, file, batch * own * ranks + rank * own, own))
    return pl.concat(found).sort("step", maintain_order=True)


def _walked(batches: Places, wanted: int, chance: Any) -> tuple[Places, Places]:
    """(file, batch in it) of so many reads, epoch after epoch."""
    files, numbers, count = [], [], 0
    order = np.arange(len(batches))
    while count < wanted:
        if chance is not None:
            _permuted(order, chance)  # on from where the last epoch left it, as llm.c does
        for file in order:
            inside = np.arange(batches[file])
            if chance is not None:
                _permuted(inside, chance)
            files.append(np.full(len(inside), file))
            numbers.append(inside)
            count += len(inside)
            if count >= wanted:
                break
    return np.concatenate(files)[:wanted], np.concatenate(numbers)[:wanted]


def _permuted(values: Places, chance: Any) -> None:
    """Shuffle in place as llm.c does: Fisher and Yates from the end, the rest of a raw draw."""
    raw = chance.randint(0, 1 << 32, max(len(values) - 1, 0), dtype=np.uint32)  # as they come
    for i, draw in zip(range(len(values) - 1, 0, -1), raw, strict=True):
        j = int(draw) % (i + 1)
        values[i], values[j] = values[j], values[i]


def nanogpt(
    export: Export,
    state: Any,
    *,
    sequences: int,
    length: int,
    steps: int,
    micro_steps: int = 1,
    eval_interval: int = 0,
    eval_batches: int = 0,
    first_step: int = 0,
) -> pl.DataFrame:
    """The spans of nanoGPT's random batches, from the state of torch's generator. Needs torch.

    nanoGPT keeps no record of what it draws, and a seed is not enough: the model's first weights
    come from the same generator. `state` is torch.get_rng_state() just before the first batch is
    drawn, after the model was made; with it the draws can be repeated if nothing else draws from
    the generator of the CPU: so on a GPU, or without dropout. Rank 0 draws `eval_batches` of
    both splits (eval_iters) at every `eval_interval`-th step, the other ranks none: leave both 0
    for these. Each rank has a state of its own.
    """
    import torch  # noqa: PLC0415 - an extra

    generator = torch.Generator()
    generator.set_state(state)
    room = int(export.first[-1]) - length
    if room < 1:
        raise InputError(f"{export.folder} has no sequence of {length} tokens")

    def draw(batches: int) -> Places:
        return np.concatenate(
            [torch.randint(room, (sequences,), generator=generator).numpy() for _ in range(batches)]
        )

    ready = draw(1)  # nanoGPT draws each batch while the one before is computed
    found = []
    for step in range(first_step, first_step + steps):
        if eval_interval and step % eval_interval == 0:
            draw(2 * eval_batches)
        drawn = np.concatenate([ready, draw(micro_steps)])
        found.append(spans(step, 0, drawn[: sequences * micro_steps], length))
        ready = drawn[sequences * micro_steps :]
    return pl.concat(found)


def megatron(
    export: Export, cache: Path, *, sequences: int, length: int, steps: int, consumed: int = 0
) -> pl.DataFrame:
    """The spans of steps of Megatron-LM's GPTDataset, from the three indices that it saved.

    `cache` names them up to -document_index.npy: the hash, the class and the split, in the folder
    of --data-cache-path or GPTDataset_indices. `sequences` is the global batch; `consumed` the
    consumed samples before the first of these steps, which is numbered from there. For a blended
    dataset give `instances` the sample numbers that dataset_sample_index.npy holds of this part.
    """
    first = consumed // sequences
    samples = np.arange(first * sequences, (first + steps) * sequences)
    numbers = np.repeat(np.arange(first, first + steps), sequences)
    return megatron_samples(export, cache, samples, numbers, length)


def megatron_samples(
    export: Export, cache: Path, samples: Places, steps: Places, length: int
) -> pl.DataFrame:
    """The spans of samples of a GPTDataset, before its shuffle, that steps consumed."""
    document, sample, shuffle = (
        np.load(
            cache.with_name(f"{cache.name}-{name}_index.npy"), mmap_mode="r", allow_pickle=False
        )
        for name in ("document", "sample", "shuffle")
    )
    if len(samples) and int(samples.max()) >= len(shuffle):
        raise InputError(f"{cache} has {len(shuffle):,} samples, fewer than the steps consumed")
    if len(document) and int(document.max()) >= len(export.ids):
        raise InputError(f"{cache} knows more documents than {export.folder} has")
    places = shuffle[samples].astype(np.int64)
    (first, skipped), (last, taken) = (sample[places + i].astype(np.int64).T for i in (0, 1))
    counts = last - first + 1
    ramp = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    rows = document[np.repeat(first, counts) + ramp].astype(np.int64)
    begin = export.bounds[rows] + np.where(ramp == 0, np.repeat(skipped, counts), 0)
    is_last = ramp == np.repeat(counts - 1, counts)
    end = np.where(is_last, export.bounds[rows] + np.repeat(taken, counts), export.bounds[rows + 1])
    found = spans(np.repeat(steps, counts), 0, begin, end - begin)
    whole = found["length"].sum()
    if whole != len(samples) * length:
        raise InputError(
            f"{cache}: samples have {whole / max(len(samples), 1):.1f} tokens, not {length}: these "
            "are the indices of another dataset, or of another sequence length"
        )
    return found


def instances(
    export: Export, numbers: npt.ArrayLike, *, length: int, per_step: int, first_step: int = 0
) -> pl.DataFrame:
    """The spans of a plain list of instances, `per_step` of them a step; the last may be short.

    Instance k is the k-th piece of `length` tokens, file after file, what remains of a file being
    in none: so OLMo, OLMo-core, and whoever reshapes a token file to rows.
    """
    flat = np.ravel(np.asarray(numbers, np.int64))
    rows = np.diff(export.first) // length
    ends = np.cumsum(rows)
    if len(flat) and not 0 <= int(flat.min()) <= int(flat.max()) < ends[-1]:
        raise InputError(
            f"instances {flat.min():,} to {flat.max():,} are asked for, and {export.folder} has "
            f"{ends[-1]:,} of {length} tokens: the list is of another dataset"
        )
    file = np.searchsorted(ends, flat, side="right")
    start = (flat - (ends - rows)[file]) * length
    return spans(first_step + np.arange(len(flat)) // per_step, file, start, length)


def olmo_core(
    export: Export, indices: Path, *, length: int, batch_tokens: int, steps: int | None = None
) -> pl.DataFrame:
    """The spans of OLMo-core's steps, from the global indices that it saved; numbered from 1.

    `indices` is global_indices_*.npy of an epoch, bare uint32 for all its name (a real .npy is read
    as well); `batch_tokens` the global batch size. Only for datasets of fixed sequence length.
    """
    with indices.open("rb") as file:
        is_npy = file.read(6) == b"\x93NUMPY"
    if is_npy:
        numbers = np.load(indices, mmap_mode="r", allow_pickle=False)
    else:
        numbers = np.memmap(indices, np.uint32, "r")
    per_step = batch_tokens // length
    whole = len(numbers) // per_step if steps is None else steps
    wanted = numbers[: whole * per_step]
    return instances(export, wanted, length=length, per_step=per_step, first_step=1)


def olmo(export: Export, files: Iterable[Path], *, length: int) -> pl.DataFrame:
    """The spans of OLMo's steps, from data-indices/rank*.tsv.gz of all ranks (save_data_indices).

    A line is the step's number and the numbers of the instances, parted by tabs.
    """
    found = []
    for path in files:
        for step, numbers in _tabbed(path):
            table = instances(export, numbers, length=length, per_step=max(len(numbers), 1))
            found.append(table.with_columns(step=pl.lit(step, pl.Int64)))
    empty = spans(np.zeros(0, np.int64), 0, 0, 0)
    return pl.concat([empty, *found]).sort("step", maintain_order=True)


def _tabbed(path: Path) -> Iterator[tuple[int, list[int]]]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="ascii") as file:
        for place, line in enumerate(file, 1):
            try:
                step, *numbers = (int(word) for word in line.split("\t"))
            except ValueError:
                raise InputError(
                    f"{path}:{place}: expected numbers parted by tabs, the step's first"
                ) from None
            yield step, numbers


def rows(
    export: Export, steps: Sequence[int], documents: Sequence[Sequence[int]], longest: int | None
) -> pl.DataFrame:
    """The spans of batches of whole documents, by their rows in a Hugging Face dataset.

    `longest` is where the collator cuts a document off; None, if it does not.
    """
    counts = [len(some) for some in documents]
    flat = np.array([row for some in documents for row in some], np.int64)
    return whole(export, np.repeat(np.asarray(steps, np.int64), counts), flat, longest)


def whole(export: Export, step: Places, document: Places, longest: Any) -> pl.DataFrame:
    """The spans of whole documents; `longest` is one number, or one a document, or None."""
    if len(document) and not 0 <= int(document.min()) <= int(document.max()) < len(export.ids):
        raise InputError(
            f"rows {document.min()} to {document.max()} are not all in {export.folder}"
        )
    length = np.diff(export.bounds)[document]
    cut = length if longest is None else np.minimum(length, longest)
    return spans(step, 0, export.bounds[document], cut)

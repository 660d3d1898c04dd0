"""Batches to leave out of a run that begins again, in the forms that trainers read.

Steps are numbered from 0 here, in the order of the data. Leaving a batch out keeps all others where
they were, so that a list can be made from the log of the run that is repeated.
"""

from collections.abc import Iterable

import orjson

from cleanpipe.errors import RecipeError


def _ordered(steps: Iterable[int]) -> list[int]:
    known = sorted(set(steps))
    if not known or known[0] < 0:
        raise RecipeError(f"steps to skip: {known[:3]}; expected one at least, numbered from 0")
    return known


def megatron(steps: Iterable[int]) -> str:
    """Megatron-LM's option. Its log says `iteration 1` of the step that is 0 here, and there.

    >>> megatron([7, 4, 5])
    '--iterations-to-skip 4 5 7'
    """
    return "--iterations-to-skip " + " ".join(map(str, _ordered(steps)))


def metaseq(steps: Iterable[int], begin: int = 0) -> str:
    """The option of metaseq, for a run that begins at (or is resumed before) step `begin`.

    metaseq counts updates from 1, and a batch that is left out is no update: each range begins
    earlier by as many batches as were left out before it.

    >>> metaseq([9, 10, 11, 19])
    '--skip-batches 10-12,17'
    """
    ranges: list[list[int]] = []
    for step in _ordered(steps):
        if step < begin:
            raise RecipeError(f"step {step} is before step {begin}, where the run begins")
        if ranges and step == ranges[-1][1] + 1:
            ranges[-1][1] = step
        else:
            ranges.append([step, step])
    told, gone = [], 0
    for first, last in ranges:
        at, count = first + 1 - gone, last - first + 1
        told.append(f"{at}-{at + count - 1}" if count > 1 else f"{at}")
        gone += count
    return "--skip-batches " + ",".join(told)


def lightning(steps: Iterable[int], batches_a_step: int = 1) -> bytes:
    """skip_batches.json as Lightning's SpikeDetection writes it: a list of batch indices.

    `batches_a_step` is accumulate_grad_batches; indices count within an epoch. Lightning writes
    such a file and reads none: a data loader of one's own has to leave these batches out.

    >>> lightning([3], batches_a_step=2).split()
    [b'[', b'6,', b'7', b']']
    """
    indices = [s * batches_a_step + k for s in _ordered(steps) for k in range(batches_a_step)]
    return orjson.dumps(indices, option=orjson.OPT_INDENT_2) + b"\n"

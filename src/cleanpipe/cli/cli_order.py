"""The verbs `stability order ...`: what each step of a training read, trainer by trainer."""

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from cleanpipe.errors import InputError, RecipeError

if TYPE_CHECKING:
    import polars as pl

order = App(
    name="order",
    help="Write which tokens each step of a training read, as a table for `attribute --order`.",
)
Export = Annotated[Path, Parameter(help="The folder of the token files (`cleanpipe export`).")]
To = Annotated[Path, Parameter(help="The table: step, file, start, length (.parquet).")]
Sequences = Annotated[int, Parameter(help="Sequences of one step, of all ranks together.")]
OwnSequences = Annotated[int, Parameter(help="Sequences of one micro step of one rank (B).")]
Length = Annotated[int, Parameter(help="Tokens of a sequence (T).")]
Steps = Annotated[int, Parameter(help="How many steps were trained.")]
SomeSteps = Annotated[int | None, Parameter(help="The first so many; left out, all.")]
MicroSteps = Annotated[int, Parameter(help="Micro steps of a step (gradient accumulation).")]
Ranks = Annotated[int, Parameter(help="Processes that read side by side.")]
Shuffled = Annotated[
    bool, Parameter(help="Whether it shuffled, as it does unless told to overfit a batch.")
]
State = Annotated[
    Path,
    Parameter(
        help="What torch.save(torch.get_rng_state(), STATE) wrote just before the first batch was "
        "drawn, after the model was made: a seed does not tell, and nanoGPT keeps no record."
    ),
]
EvalInterval = Annotated[
    int,
    Parameter(
        help="Steps between evaluations, which draw from the same generator; 0 on ranks without."
    ),
]
EvalBatches = Annotated[int, Parameter(help="Batches of each split in one of them (eval_iters).")]
Cache = Annotated[
    Path, Parameter(help="The three files of --data-cache-path, up to -document_index.npy.")
]
Consumed = Annotated[int, Parameter(help="Samples consumed before the first of these steps.")]
GlobalIndices = Annotated[Path, Parameter(help="global_indices_*.npy of its work folder.")]
RankIndices = Annotated[Path, Parameter(help="data-indices/rank*.tsv.gz, of every rank.")]
Rows = Annotated[Path, Parameter(help="The rows' numbers in the order of training (.npy).")]


@Parameter(name="*")
@dataclass(frozen=True)
class Loader:
    """The options of loaders whose batches follow from arithmetic."""

    sequences: OwnSequences
    length: Length
    steps: Steps
    micro_steps: MicroSteps = 1
    ranks: Ranks = 1


@order.command
def llmc(
    export: Export,
    to: To,
    *,
    loader: Loader,
    shuffled: Shuffled = True,
) -> int:
    """Of llm.c, by the arithmetic of its loader and the fixed seed of its shuffle."""
    return _by_rule(export, to, "llmc", loader, shuffled)


@order.command(name="train-gpt2")
def train_gpt2(
    export: Export,
    to: To,
    *,
    loader: Loader,
) -> int:
    """Of train_gpt2.py and build-nanogpt, which read from the beginning, not shuffled."""
    return _by_rule(export, to, "python", loader)


@order.command(name="modded-nanogpt")
def modded_nanogpt(
    export: Export,
    to: To,
    *,
    loader: Loader,
) -> int:
    """Of modded-nanogpt's loader of whole batches, not shuffled."""
    return _by_rule(export, to, "modded", loader)


@order.command
def nanogpt(
    export: Export,
    to: To,
    *,
    state: State,
    sequences: OwnSequences,
    length: Length,
    steps: Steps,
    micro_steps: MicroSteps = 1,
    eval_interval: EvalInterval = 0,
    eval_batches: EvalBatches = 0,
) -> int:
    """Of nanoGPT, which draws its batches by chance: from the state of its generator.

    Needs the extra `probe` (torch). One rank: `batch` and `attribute` take the tables of all.
    """
    from cleanpipe.cli.cli_stability import needs_torch  # noqa: PLC0415

    needs_torch()
    import torch  # noqa: PLC0415 - an extra

    from cleanpipe.export import mappers  # noqa: PLC0415

    _positive(sequences, length, steps, micro_steps)
    known = {"sequences": sequences, "length": length, "micro_steps": micro_steps}
    asked = {"eval_interval": eval_interval, "eval_batches": eval_batches}
    with _reading(state):
        begun = torch.load(state, map_location="cpu", weights_only=True)
    return _write(to, mappers.nanogpt(_open(export), begun, steps=steps, **known, **asked))


@order.command
def megatron(
    export: Export,
    to: To,
    *,
    cache: Cache,
    sequences: Sequences,
    length: Length,
    steps: Steps,
    consumed: Consumed = 0,
) -> int:
    """Of Megatron-LM and NeMo, by the indices that they saved."""
    from cleanpipe.export import mappers  # noqa: PLC0415 - heavy; --help needs none

    _positive(sequences, length, steps)
    known = {"sequences": sequences, "length": length, "steps": steps, "consumed": consumed}
    with _reading(cache):
        found = mappers.megatron(_open(export), cache, **known)
    return _write(to, found)


@order.command(name="olmo-core")
def olmo_core(
    export: Export,
    to: To,
    *,
    indices: GlobalIndices,
    sequences: Sequences,
    length: Length,
    steps: SomeSteps = None,
) -> int:
    """Of OLMo-core, by its global indices; its steps count from 1."""
    from cleanpipe.export import mappers  # noqa: PLC0415 - heavy; --help needs none

    _positive(sequences, length, steps or 1)
    tokens = sequences * length
    with _reading(indices):
        found = mappers.olmo_core(
            _open(export), indices, length=length, batch_tokens=tokens, steps=steps
        )
    return _write(to, found)


@order.command
def olmo(export: Export, to: To, *indices: RankIndices, length: Length) -> int:
    """Of OLMo, by the data-indices of all its ranks."""
    from cleanpipe.export import mappers  # noqa: PLC0415 - heavy; --help needs none

    _positive(length)
    if not indices:
        raise RecipeError("olmo: no data-indices/rank*.tsv.gz is named, expected one a rank")
    with _reading(indices[0]):
        found = mappers.olmo(_open(export), indices, length=length)
    return _write(to, found)


@order.command
def instances(
    export: Export,
    to: To,
    *,
    rows: Rows,
    sequences: Sequences,
    length: Length,
    steps: SomeSteps = None,
) -> int:
    """Of whatever reshapes the token file to rows of `--length` tokens and reads a list of them."""
    import numpy as np  # noqa: PLC0415 - heavy; --help needs none

    from cleanpipe.export import mappers  # noqa: PLC0415

    _positive(sequences, length, steps or 1)
    with _reading(rows):
        numbers = np.load(rows, mmap_mode="r", allow_pickle=False)
    wanted = numbers if steps is None else numbers[: steps * sequences]
    return _write(to, mappers.instances(_open(export), wanted, length=length, per_step=sequences))


def _by_rule(export: Path, to: Path, rule: str, loader: Loader, shuffled: bool = True) -> int:
    from cleanpipe.export import mappers  # noqa: PLC0415 - heavy; --help needs none

    _positive(*astuple(loader))
    found = mappers.llmc(_open(export), rule=rule, shuffled=shuffled, **asdict(loader))
    return _write(to, found)


def _open(export: Path) -> Any:
    from cleanpipe.export.exposure import Export as Opened  # noqa: PLC0415 - heavy

    return Opened.open(export)


def _positive(*numbers: int) -> None:
    if min(numbers) < 1:
        raise RecipeError(
            f"{min(numbers)} is no number of sequences, tokens, steps or ranks: expected 1 at least"
        )


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Say which file cannot be read, and why."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # what torch and numpy raise at files of other kinds is not told
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(f"cannot read {path}: {reason}") from error


def _write(to: Path, found: "pl.DataFrame") -> int:
    from cleanpipe import store  # noqa: PLC0415 - heavy; --help needs none

    if to.suffix != ".parquet":
        raise RecipeError(f"{to}: expected a name that ends in .parquet")
    if not found.height:
        raise InputError(f"there is no step to write into {to}: what the trainer kept is empty")
    table = found.to_arrow()
    store.write_table(to, [table], table.schema)
    steps = found["step"].unique().sort()
    tokens = found["length"].sum()
    sys.stdout.write(f"{to}: {len(steps):,} steps ({steps[0]} to {steps[-1]}), {tokens:,} tokens\n")
    return 0

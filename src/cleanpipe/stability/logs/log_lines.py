"""Logs that are lines of text: what a line of each trainer looks like, and lines as rows.

A form is a handful of linear-time patterns, which Polars applies to a block of lines at a time.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import polars as pl

from cleanpipe.stability.logs.log import SCHEMA, VALUED, Note
from cleanpipe.stability.logs.log_numbers import Numbers

NUMBER = r"([-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|[nN][aA][nN]|[iI][nN][fF](?:inity)?))"
ROUNDED = r"([-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?[KMGBTPE]?|[nN][aA][nN]|[iI][nN][fF](?:inity)?))"
"""A number as nanotron prints it: three digits, and a letter for thousands, millions and so on."""
LETTERS = {"K": 3, "M": 6, "G": 9, "B": 9, "T": 12, "P": 15, "E": 18}
"""Its powers of ten: newer versions write B for G, and E ends what is larger than all others."""
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
RANK_ZERO = Note(
    "rank_zero",
    "the loss is of one process's last micro-batch, not of the whole batch: noisier, and blind to "
    "the other processes' documents",
)


@dataclass(frozen=True)
class Lines:
    """How a trainer writes a step."""

    name: str
    step: str
    """A pattern of a line that names a step; what it captures is the number."""
    fields: dict[str, str]
    """By column, a pattern of what is captured: on the step's line, or also on lines below it."""
    below: bool = False
    """Whether a step's values stand on the lines below it."""
    notes: tuple[Note, ...] = field(default=())
    letters: bool = False
    """Whether numbers end in a letter for thousands and so on."""


FORMS = (
    Lines(
        "build-nanogpt",
        r"^step\s+(\d+) \| loss: ",
        {
            "loss": rf"\| loss: {NUMBER}",
            "lr": rf"\| lr:? {NUMBER}",
            "grad_norm": rf"\| norm: {NUMBER}",
        },
    ),
    Lines("build-nanogpt", r"^(\d+) train \S+$", {"loss": rf" train {NUMBER}$"}),
    Lines(
        "llm.c",
        r"^s:(\d+) trl:",
        {"loss": rf" trl:{NUMBER}", "lr": rf" lr:{NUMBER}", "grad_norm": rf" norm:{NUMBER}"},
    ),
    Lines(
        "llm.c",
        r"^step\s+(\d+)/\d+ \| (?:train )?loss ",
        {
            "loss": rf"\| (?:train )?loss {NUMBER}",
            "lr": rf"\| lr {NUMBER}",
            "grad_norm": rf"\| norm {NUMBER}",
        },
    ),
    Lines(
        "modded-nanogpt",
        r"^step:(\d+)/\d+ train_loss:",
        {"loss": rf" train_loss:{NUMBER}"},
        notes=(RANK_ZERO,),
    ),
    Lines("nanogpt", r"^iter (\d+): loss ", {"loss": rf": loss {NUMBER}"}, notes=(RANK_ZERO,)),
    Lines(
        "nemo",  # 2: its ProgressPrinter
        r"^Training epoch \d+, iteration \d+/\d+ \|.* global_step: (\d+)",
        {
            "loss": rf"\| reduced_train_loss: {NUMBER}",
            "lr": rf"\| lr: {NUMBER}",
            "grad_norm": rf"\| grad_norm: {NUMBER}",
        },
        notes=(
            Note(
                "rounded",
                "NeMo's lines have four digits, and its means where a line stands for several "
                "steps; the gradient norm stands in its TensorBoard or W&B log, mostly not here",
            ),
        ),
    ),
    Lines(
        "nemo",  # 1: a progress bar, whose global_step has three digits only, unlike its counter
        r"\s(\d+)/\d+ \[.*\breduced_train_loss=",
        {
            "loss": rf"\breduced_train_loss={NUMBER}",
            "lr": rf"\blr={NUMBER}",
            "grad_norm": rf"\bgrad_norm={NUMBER}",
        },
    ),
    Lines(
        "nanotron",
        r"\biteration: (\d+) / \d+ \|",
        {
            "loss": rf"\| (?:lm_)?loss: {ROUNDED}",
            "lr": rf"\| lr: {ROUNDED}",
            "grad_norm": rf"\| grad_norm: {ROUNDED}",
        },
        notes=(
            Note(
                "rounded",
                "nanotron's lines have three digits: what moves the loss by less does not show, "
                "nor does most of its noise (its TensorBoard or W&B log has all digits)",
            ),
        ),
        letters=True,
    ),
    Lines(
        "megatron",
        r"iteration\s+(\d+)/\s*\d+ \|",
        {
            "loss": rf"\| (?:lm loss|reduced_train_loss|loss): {NUMBER}",
            "lr": rf"\| (?:learning rate|lr): {NUMBER}",
            "grad_norm": rf"\| grad norm: {NUMBER}",
            "tokens": r"\| consumed tokens:\s+(\d+)",
        },
    ),
    Lines(
        "torchtitan",
        r"\bstep:\s*(\d+)\s+loss:",
        {
            "loss": rf"\sloss:\s*{NUMBER}",
            "lr": rf"\slr:\s*{NUMBER}",
            "grad_norm": rf"\sgrad_norm:\s*{NUMBER}",
        },
    ),
    Lines(
        "olmo",
        r"\[step=(\d+)(?:/\d+)?(?:,epoch=\d+[^\]]*)?\]",
        {
            "loss": rf"^\s*train/(?:CE loss|CrossEntropyLoss)={NUMBER}",
            "lr": rf"^\s*optim/(?:LR \(group 0\)|learning_rate_group0)={NUMBER}",
            "grad_norm": rf"^\s*optim/total[ _]grad[ _]norm={NUMBER}",
            "tokens": r"^\s*throughput/total[ _]tokens=([0-9,]+)",
        },
        below=True,
    ),
    Lines(
        "composer",
        r"\[batch=(\d+)/\d+\]",
        {
            "loss": rf"\bloss/train/total\"?: {NUMBER}",
            "lr": rf"\blr-[^:/]+/group0\"?: {NUMBER}",
            "grad_norm": rf"\bl2_norm/grad/global\"?: {NUMBER}",
            "tokens": r"\btime/token\"?: (\d+)",
        },
        below=True,
    ),
)


def recognized(head: str) -> Lines | None:
    r"""The form that most lines of a file's beginning have; None where none has any.

    >>> recognized("some prose\niter 10: loss 8.3, time 91.2ms, mfu 3.1%").name
    'nanogpt'
    """
    lines = as_lines(head)
    counts = [_rows(lines, form).height for form in FORMS]
    return FORMS[counts.index(max(counts))] if any(counts) else None


def as_lines(text: str) -> pl.Series:
    """Lines; progress bars' carriage returns end one, too, and colours are taken out."""
    if "\x1b" in text:
        text = COLOURS.sub("", text)
    return pl.Series([text.replace("\r", "\n")]).str.split("\n").explode()


def rows(blocks: Iterator[str], form: Lines) -> tuple[pl.DataFrame, list[Note]]:
    """Rows as the file has them, of blocks of whole lines, and what of them is lost."""
    account = Numbers()
    found = []
    last: int | None = None
    first = 1
    for block in blocks:
        lines = as_lines(block)
        table = _rows(lines, form, last)
        if form.below:
            named = lines.filter(lines.str.contains(form.step)).tail(1)
            if len(named):
                last = named.str.extract(form.step).cast(pl.Int64, strict=False)[0]
        else:
            _count(table, lines, form, first, account)
        found.append(table)
        first += len(lines) - 1
    whole = pl.concat(found).rechunk() if found else pl.DataFrame(schema=SCHEMA)
    return whole, account.notes()


def _count(table: pl.DataFrame, lines: pl.Series, form: Lines, first: int, to: Numbers) -> None:
    """Lines of a step of which no number is read."""
    read = pl.col("step").is_not_null() & VALUED
    lost = table.select(~read).to_series()
    if lost.any():
        place = int(lines.str.contains(form.step).arg_true()[int(lost.arg_true()[0])])
        to.lines(int(lost.sum()), first + place, str(lines[place]))


def _rows(lines: pl.Series, form: Lines, last: int | None = None) -> pl.DataFrame:
    """Rows of some lines; `last` is the step that stands above them."""
    line = pl.col("line")
    columns = [
        _plain(line.str.extract(form.fields[name]), name, form.letters).cast(kind, strict=False)
        if name in form.fields
        else pl.lit(None, kind)
        for name, kind in SCHEMA.items()
        if name != "step"
    ]
    names = [name for name in SCHEMA if name != "step"]
    step = pl.col("step").cast(pl.Int64, strict=False)
    table = lines.to_frame("line").lazy().with_columns(line.str.extract(form.step).alias("step"))
    chosen = [step, *(c.alias(n) for c, n in zip(columns, names, strict=True))]
    if not form.below:
        return table.filter(pl.col("step").is_not_null()).select(chosen).collect()
    values = pl.any_horizontal(pl.col(names).is_not_null())
    return (
        table.select(chosen)
        .with_columns(pl.col("step").forward_fill().fill_null(pl.lit(last, pl.Int64)))
        .filter(pl.col("step").is_not_null() & values)
        .collect()
    )


def _plain(number: pl.Expr, name: str, letters: bool) -> pl.Expr:
    """A number as digits that a cast understands; only counts of tokens have commas."""
    plain = number.str.replace_all(",", "", literal=True) if name == "tokens" else number
    if letters:
        for letter, power in LETTERS.items():
            plain = plain.str.replace(f"{letter}$", f"e{power}")
    return plain

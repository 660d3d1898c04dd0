"""Which column of a table is the step, the loss, the gradient norm: the names that trainers use."""

import re
from collections.abc import Iterable, Mapping

from cleanpipe.errors import RecipeError
from cleanpipe.nearest import did_you_mean
from cleanpipe.stability.logs.log import SCHEMA

NAMES = {
    "step": ("global_step", "step", "_step", "iteration", "iter", "batch", "time/batch"),
    "loss": (
        *("loss", "train_loss", "training_loss", "loss_step", "train_loss_step"),
        *("loss/train/total", "ce_loss", "crossentropyloss", "lm_loss", "reduced_train_loss"),
        *("loss_metrics/global_avg_loss", "global_avg_loss", "loss/train", "total_loss"),
    ),
    "grad_norm": (
        *("grad_norm", "gradient_norm", "global_grad_norm", "total_grad_norm", "norm"),
        *("optim/total_grad_norm", "l2_norm/grad/global", "grad_2.0_norm_total", "grad_norm/total"),
        *("grad_2.0_norm", "gnorm"),
    ),
    "lr": ("lr", "learning_rate", "optim/lr_(group_0)", "optim/learning_rate_group0"),
    "tokens": (
        *("tokens", "num_input_tokens_seen", "consumed_tokens", "total_tokens", "tokens_seen"),
        *("throughput/total_tokens", "time/token"),
    ),
}
"""By column, what it is called in lower case, `_` for spaces and hyphens, without `train/`; the
first that a table has is taken."""
ANY_RATE = re.compile(r"lr_.*")
LISTED = 20
"""Columns that a message names."""


def meant(name: str) -> str:
    """A column's name as it stands in the lists above.

    >>> meant("train/Grad-Norm"), meant("train.loss"), meant("lm loss")
    ('grad_norm', 'loss', 'lm_loss')
    """
    plain = re.sub(r"[ -]", "_", name.strip().lower())
    return re.sub(r"^(?:train|trainer|training)[/.]", "", plain)


def chosen(columns: Iterable[str], named: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our columns' names to a table's; `named` are those that a user gave.

    >>> chosen(["_step", "train/loss", "eval/loss", "train/global_step"])
    {'step': 'train/global_step', 'loss': 'train/loss'}
    """
    given = list(columns)
    by_meaning: dict[str, str] = {}
    for name in given:
        by_meaning.setdefault(meant(name), name)
    for name in given:  # objects within objects: loss.train is loss/train
        by_meaning.setdefault(meant(name).replace(".", "/"), name)
    found = {
        ours: next(by_meaning[name] for name in names if name in by_meaning)
        for ours, names in NAMES.items()
        if any(name in by_meaning for name in names)
    }
    if "lr" not in found:
        rates = [name for name in given if ANY_RATE.fullmatch(meant(name))]
        found |= {"lr": rates[0]} if rates else {}
    for ours, theirs in (named or {}).items():
        if ours not in SCHEMA:
            raise RecipeError(f"--column {ours}: expected one of {', '.join(SCHEMA)}")
        if theirs not in given:
            raise RecipeError(f"the log has no column {theirs}{did_you_mean(theirs, given)}")
        found[ours] = theirs
    return found


def listed(columns: Iterable[str], found: Mapping[str, str]) -> str:
    """What a table lacks of what is needed, what it has, and how to name it.

    >>> listed(["n", "loss"], {"loss": "loss"})
    'without a step; columns: n, loss; name them: --column step=... --column loss=...'
    """
    names = list(columns)
    more = f" and {len(names) - LISTED:,} more" if len(names) > LISTED else ""
    lacking = [] if "step" in found else ["a step"]
    if not {"loss", "grad_norm"} & set(found):
        lacking.append("a loss or gradient norm")
    return (
        f"without {' and '.join(lacking)}; columns: {', '.join(names[:LISTED])}{more}; name them: "
        "--column step=... --column loss=..."
    )

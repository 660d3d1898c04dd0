"""The guard before a training loop, and the watch beside it."""

import copy
import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cleanpipe.errors import RecipeError
from cleanpipe.export import skipping
from cleanpipe.training.guard import IGNORED, Guard
from cleanpipe.training.watch import Watch

LENGTH = 64


def stretch(row):
    """How many tokens of a row are repeats: here it is all or half of it, or nothing."""
    if (row == row[0]).all():
        return LENGTH
    return LENGTH // 2 if (row[: LENGTH // 2] == row[0]).all() else 0


def batches(kinds, size, seed=0):
    """Batches of `size` rows, which are plain, half or whole repeats; the last may be short."""
    chance = np.random.default_rng(seed)
    rows = []
    for kind in kinds:
        row = chance.permutation(50_000)[:LENGTH]
        row[: kind * LENGTH // 2] = row[0]
        rows.append(row)
    return [np.stack(rows[start : start + size]) for start in range(0, len(rows), size)]


cases = st.tuples(
    st.lists(st.sampled_from([0, 0, 0, 1, 2]), min_size=1, max_size=60),
    st.integers(1, 8),
    st.integers(0, 20),
    st.sampled_from([0.01, 0.1, 0.3, 1.0]),
)


@settings(max_examples=150)
@given(cases)
def test_bounds_hold_and_no_row_is_lost(case):
    """As many batches of the same sizes; every row once; over the bound only with masks."""
    kinds, size, room, coherent = case
    given_ = batches(kinds, size)
    guard = Guard(given_, coherent=coherent, room=room)
    out = list(guard)
    assert [len(batch["input_ids"]) for batch in out] == [len(batch) for batch in given_]
    before, after = (
        sorted(row.tolist() for batch in some for row in batch)
        for some in (given_, [batch["input_ids"] for batch in out])
    )
    assert before == after
    for batch in out:
        masked = (batch["labels"] == IGNORED).any(axis=1)
        for row, labels, gone in zip(batch["input_ids"], batch["labels"], masked, strict=True):
            wanted = row.copy()
            if gone:
                wanted[1 : stretch(row)] = IGNORED
            assert np.array_equal(labels, wanted)
        open_ = sum(stretch(row) for row in batch["input_ids"][~masked])
        assert open_ <= coherent * batch["input_ids"].size


@settings(max_examples=60)
@given(cases, st.integers(0, 12))
def test_a_resumed_guard_gives_the_same_bytes(case, stop):
    """Stopped after any batch, with the source put to where it was: all that follows is equal."""
    kinds, size, room, coherent = case
    given_ = batches(kinds, size)
    whole = list(Guard(given_, coherent=coherent, room=room))
    first = Guard(iter(given_), coherent=coherent, room=room)
    seen = []
    state = copy.deepcopy(first.state_dict())
    for batch in first:
        if len(seen) == stop:
            break
        seen.append(batch)
        state = copy.deepcopy(first.state_dict())
    second = Guard(given_[state["consumed"] :], coherent=coherent, room=room)
    second.load_state_dict(state)
    seen += list(second)
    assert len(seen) == len(whole)
    for one, other in zip(seen, whole, strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in ("input_ids", "labels"))


def test_the_buffer_is_bounded_and_does_not_wait_for_ever():
    """However many repeats come, `room` rows wait at most beyond a batch; those in excess go."""
    guard = Guard(iter(batches([2] * 400, 8)), coherent=0.01, room=20)
    for number, batch in enumerate(guard):
        assert len(guard._rows) <= 20 + 8
        assert guard.consumed <= number + 1 + 4
        assert (batch["labels"] == IGNORED).any()
    assert guard.masked == 400


def test_a_clump_is_spread_over_later_batches():
    """Eight rows of repeats at once: each later batch takes what its bound allows, none masked."""
    kinds = [0] * 16 + [1] * 8 + [0] * 104
    guard = Guard(batches(kinds, 8), coherent=1 / 16, room=64)
    found = [sum(stretch(row) > 0 for row in batch["input_ids"]) for batch in guard]
    assert max(found) == 1
    assert sum(found) == 8
    assert guard.masked == 0


def test_tensors_stay_tensors_and_shifted_labels_are_masked_where_they_stand():
    """A target is the token after: so are its masks; the caller's batch is not changed."""
    torch = pytest.importorskip("torch")
    ids = torch.from_numpy(batches([1, 0], 2)[0])
    targets = torch.roll(ids, -1, dims=1)
    kept = targets.clone()
    (batch,) = Guard([{"input_ids": ids, "labels": targets}], coherent=0.01, shifted=True)
    assert isinstance(batch["labels"], torch.Tensor)
    assert torch.equal(batch["input_ids"], ids.flip(0))  # who is over the bound comes last
    assert (batch["labels"][1] == IGNORED).nonzero().ravel().tolist() == list(range(31))
    assert torch.equal(targets, kept)
    with pytest.raises(ValueError, match="above 0"):
        Guard([], coherent=0.0)


def trained(steps=3_000, seed=0):
    """Losses and gradient norms of a healthy run."""
    chance = np.random.default_rng(seed)
    trend = 8 * (np.arange(steps) + 100.0) ** -0.1
    return trend * np.exp(chance.normal(0, 0.02, steps)), np.exp(chance.normal(0, 0.1, steps))


def watched(losses, norms, **options):
    watch = Watch(**options)
    found = [
        watch.see(step, loss, norm, [f"d{step}"])
        for step, (loss, norm) in enumerate(zip(losses, norms, strict=True))
    ]
    return [event for event in found if event]


def test_a_healthy_run_is_left_alone():
    """Three runs of 3,000 steps without an event: not one."""
    assert not [event for seed in range(3) for event in watched(*trained(seed=seed))]


def test_each_kind_is_said_at_once_and_by_its_name():
    """One step up: hard batch. The norm alone: gradient spike. Four steps up: instability. NaN."""
    losses, norms = trained()
    losses[1_000] *= 1.3
    norms[1_400] *= 5
    losses[2_000:2_010] *= 1.3
    losses[2_500] = math.nan
    told = [(event.step, event.kind) for event in watched(losses, norms)]
    assert told[:2] == [(1_000, "hard batch"), (1_400, "gradient spike")]
    assert told[2:5] == [(step, "hard batch") for step in (2_000, 2_001, 2_002)]
    assert told[5:12] == [(step, "instability") for step in range(2_003, 2_010)]
    assert told[12:] == [(2_500, "divergence")]
    assert watched(losses, norms)[0].documents == ("d1000",)
    assert "step 1000: hard batch (loss +" in str(watched(losses, norms)[0])


def test_ranks_that_agree_say_the_same():
    """With a mean over ranks, each rank's events are those of the mean."""
    losses, _ = trained()
    losses[1_000] *= 1.5
    others = losses * np.exp(np.random.default_rng(8).normal(0, 0.3, len(losses)))
    means = iter((losses + others) / 2)

    def mean(value):
        return next(means) if value in {*losses} else value

    own = watched(losses, np.ones(len(losses)), agree=mean)
    both = watched((losses + others) / 2, np.ones(len(losses)))
    assert [str(event) for event in own] == [str(event) for event in both]


def test_scores_are_those_of_the_definition():
    """Against the trailing median and the scale, computed anew for single steps."""
    losses, _ = trained(700)
    losses[600] *= 1.4
    logs = np.log(losses)
    residuals = [logs[t] - np.median(logs[t - 101 : t]) for t in range(101, 700)]
    (event,) = watched(losses, np.ones(700))
    scale = 1.4826 * np.median(np.abs(residuals[: 600 - 101]))
    assert event.loss_z == pytest.approx(residuals[600 - 101] / scale)


def metaseq_skips(option, total):
    """What metaseq's loop leaves out: at an update it drops as many batches as its range has."""
    ranges = {}
    for part in option.split()[1].split(","):
        first, _, last = part.partition("-")
        ranges[int(first)] = int(last or first) - int(first) + 1
    gone, updates = [], 0
    for batch in range(total):
        if ranges.get(updates + 1, 0) > 0:
            ranges[updates + 1] -= 1
            gone.append(batch)
        else:
            updates += 1
    return gone


@given(st.sets(st.integers(0, 60), min_size=1, max_size=30))
def test_metaseq_leaves_out_what_was_asked_for(steps):
    """Its loop counts updates, not batches: the option allows for it."""
    assert metaseq_skips(skipping.metaseq(steps), 70) == sorted(steps)


def test_a_list_of_nothing_is_refused():
    """No steps, negative steps, steps before the beginning: no option is made."""
    for wrong in ([], [-1, 3]):
        with pytest.raises(RecipeError, match="numbered from 0"):
            skipping.megatron(wrong)
    with pytest.raises(RecipeError, match="step 3 is before"):
        skipping.metaseq([3], begin=5)


def test_the_page_shows_what_happens(capsys):
    """The programs of docs/guard.md run, and print what their comments say."""
    page = (Path(__file__).parents[1] / "docs" / "guard.md").read_text(encoding="utf-8")
    known = {}
    for program in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(program, known)  # noqa: S102 - our own page
    told = capsys.readouterr().out
    assert told.count("(8, 64)") == 20
    assert "step 700: gradient spike (" in told
    assert "; documents d12, d7" in told
    assert "--iterations-to-skip 9 10 11 19\n--skip-batches 10-12,17\n" in told
    assert "4 rows were masked" in told

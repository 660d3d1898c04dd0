"""From small runs to a mixture: what is planted is found, RegMix's published runs are ranked."""

import numpy as np
import orjson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from test_cli import cleanpipe

from cleanpipe.balancing.mixture import Runs, fit, load, propose, weights
from cleanpipe.errors import InputError


def planted(count=120, noise=0.0, seed=1):
    """Runs whose loss is lowest where a has 0.6 and b 0.3 of the text."""
    generator = np.random.default_rng(seed)
    shares = generator.dirichlet([1.5, 1, 0.7], count)
    losses = 2 + ((shares - [0.6, 0.3, 0.1]) ** 2).sum(axis=1) + generator.normal(0, noise, count)
    return Runs(("a", "b", "c"), shares, losses)


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_a_planted_mixture_is_found(noise):
    """The proposal is near the best, and its loss within three deviations of the true one."""
    runs = planted(noise=noise)
    known = fit(runs)
    found = propose(runs, known)
    assert found.shares["a"] == pytest.approx(0.6, abs=0.08)
    assert found.shares["b"] == pytest.approx(0.3, abs=0.08)
    true = 2 + sum((found.shares[k] - v) ** 2 for k, v in {"a": 0.6, "b": 0.3, "c": 0.1}.items())
    assert abs(found.loss - true) < 3 * found.deviation + 0.02


def test_far_from_all_runs_less_is_known():
    """The deviation grows where nothing was tried."""
    runs = planted()
    near, far = fit(runs).predict(np.array([runs.shares.mean(axis=0), [1e-6, 1e-6, 1.0]]))[1]
    assert far > 2 * near


@pytest.mark.parametrize(("size", "least"), [("1m", 0.98), ("60m", 0.97)])
def test_regmix_is_ranked_as_published(corpora, size, least):
    """Fitted on 512 runs of 1M models, the loss on pile_cc of others is ranked; trees: 0.989."""
    folder = corpora / "regmix"
    runs = regmix(folder, "train", "1m")
    others = regmix(folder, "test", size)
    loss, _ = fit(runs).predict(others.shares)
    assert spearmanr(loss, others.losses)[0] >= least


def regmix(folder, part, size):
    shares = pl.read_csv(folder / f"{part}_mixture_{size}.csv").drop("index")
    losses = pl.read_csv(folder / f"{part}_pile_loss_{size}.csv")
    (name,) = [column for column in losses.columns if "pile_cc" in column.lower()]
    values = shares.to_numpy().astype(float)
    values /= values.sum(axis=1, keepdims=True)
    return Runs(tuple(shares.columns), values, losses[name].to_numpy().astype(float))


@given(st.lists(st.floats(0.001, 1), min_size=2, max_size=40))
def test_weights_sum_to_one(values):
    """What is proposed is accepted by `balance`."""
    found = weights({f"g{n}": value for n, value in enumerate(values)})
    assert abs(sum(found.values()) - 1) < 1e-6
    assert min(found.values()) >= 0


def csv_of(tmp_path, runs):
    table = pl.DataFrame(dict(zip(runs.groups, runs.shares.T, strict=True)))
    path = tmp_path / "runs.csv"
    table.with_columns(loss=pl.Series(runs.losses)).write_csv(path)
    return path


def test_the_verb_prints_weights_for_a_recipe(tmp_path):
    """A table for people, JSON for machines, the same mixture each time."""
    path = csv_of(tmp_path, planted())
    done = cleanpipe("mixture", path, "--json")
    assert done.returncode == 0, done.stderr
    told = orjson.loads(done.stdout)
    assert sum(told["weights"].values()) == pytest.approx(1)
    assert told["loss"] < told["best_run"] + 0.01
    shown = cleanpipe("mixture", path)
    assert "strategy: explicit" in shown.stdout
    assert f"a: {told['weights']['a']}" in shown.stdout


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.rename({"loss": "los"}), "no column 'loss'; did you mean 'los'"),
        (lambda t: t.head(5), "has 5 runs of 3 groups: expected 16 runs"),
        (lambda t: t.with_columns(a=pl.lit("x")), "could not convert string to float"),
        (lambda t: t.with_columns(a=-pl.col("a")), "shares are 0 or more"),
    ],
)
def test_tables_that_cannot_be_are_refused(tmp_path, change, message):
    """Each with what is wrong and what was expected."""
    path = csv_of(tmp_path, planted())
    change(pl.read_csv(path)).write_csv(path)
    with pytest.raises(InputError, match=message):
        load(path)

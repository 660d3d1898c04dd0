"""What a night adds keeps the mixture of all that is published, whose copies stay."""

import math

import numpy as np
import polars as pl
from conftest import InProcess
from hypothesis import given
from hypothesis import strategies as st
from test_nights import Corpus, text

from cleanpipe import store
from cleanpipe.balancing.balance import Balance
from cleanpipe.balancing.grouping import Published
from cleanpipe.nights.incremental import Night, published
from cleanpipe.outcome import runs_of
from cleanpipe.run import all_steps, silent

NAMES = ("a", "b", "c")
SIZES = st.dictionaries(
    st.sampled_from(NAMES), st.lists(st.integers(1, 400), min_size=1), min_size=1
)


def table(sizes):
    rows = [(name, size) for name, found in sorted(sizes.items()) for size in found]
    chance = np.random.default_rng(3).integers(0, 2**63, len(rows), np.uint64)
    groups, own = zip(*rows, strict=True)
    return pl.DataFrame({"group": groups, "size": own, "chance": chance})


@given(
    nights=st.lists(SIZES, min_size=2, max_size=5),
    strategy=st.sampled_from(["unimax", "proportional", "temperature"]),
)
def test_every_night_brings_the_whole_nearest_to_its_shares(nights, strategy):
    """Each group gets what the whole is short of, to half a document, as far as its text goes.

    Nothing that is published is taken back, and no text of a night is written more often than
    max_epochs allows.
    """
    balance, known = Balance(by="lang", strategy=strategy), {}
    for sizes in nights:
        rows = table(sizes)
        copies = balance.copies(rows, known)
        report = balance.report(rows, copies, known)
        totals = {name: sum(sizes.get(name, [])) for name in {*sizes, *known}}
        ever = {n: totals[n] + (known[n].size if n in known else 0) for n in totals}
        wanted = balance.targets(ever)
        assert report["group"].to_list() == sorted(totals)
        for row in report.iter_rows(named=True):
            name = row["group"]
            before = known[name].written if name in known else 0
            most = math.floor(balance.max_epochs * totals[name])
            short = min(max(wanted[name].target - before, 0), most)
            assert (row["target"], row["published"]) == (short, before)
            assert abs(row["achieved"] - short) <= max(sizes.get(name, [0])) / 2
            known[name] = Published(ever[name], before + row["achieved"])
        whole = sum(one.written for one in known.values())
        shares = dict(report.select("group", "achieved_share").iter_rows())
        assert all(math.isclose(shares[n], known[n].written / (whole or 1)) for n in known)


def test_a_night_of_what_there_is_too_much_of_adds_the_rest(tmp_path, write_recipe):
    """Night 1 is all English; night 2 brings as much Welsh, whose share is what it should be."""
    corpus = Corpus(tmp_path, write_recipe)
    sections = {
        "measure": {"language": False},
        "balance": {"by": "kind", "strategy": "explicit", "weights": {"en": 0.5, "cy": 0.5}},
    }

    def deliver(name, kind, numbers):
        rows = [{"id": f"{kind}{n}", "text": text(n), "kind": kind} for n in numbers]
        pl.DataFrame(rows).write_parquet(corpus.folder / f"{name}.parquet")

    def night():
        return all_steps(Night(corpus.recipe(**sections), InProcess(), silent))

    deliver("one", "en", range(20))
    deliver("two", "cy", range(100, 110))
    first = {row["group"]: row for row in night().stats["groups"]}
    assert first["en"]["achieved_share"] < 0.6  # cy is written four times at most
    deliver("three", "cy", range(200, 230))
    deliver("four", "en", range(300, 306))
    done = night()
    rows = {row["group"]: row for row in done.stats["groups"]}
    manifest = store.current_manifest(corpus.output)
    parts = [pl.read_parquet(corpus.output / part["path"]) for part in manifest["parts"]]
    written = pl.concat(parts).group_by("kind").agg(pl.col("text").str.len_bytes().sum())
    sums = dict(written.iter_rows())
    for kind in ("en", "cy"):
        assert rows[kind]["published"] == first[kind]["achieved"]
        assert math.isclose(rows[kind]["achieved_share"], sums[kind] / sum(sums.values()))
        assert abs(rows[kind]["achieved_share"] - 0.5) < 0.02
    known = published(corpus.output / "_cleanpipe", runs_of(manifest))
    assert {name: one.written for name, one in known.items()} == sums

"""Drawing documents, and the intervals made of what was drawn: the truth is where they say."""

import gzip

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleanpipe.input import readers
from cleanpipe.input.corpus import Block, Input, Span, find_shards, glance
from cleanpipe.input.draw import NO_DOCUMENT, Chance, Draw
from cleanpipe.planning.intervals import Interval, Sample, clopper_pearson, exactly, total
from cleanpipe.planning.sampling import FEWEST_STRETCHES, scheme

SEEDS = 300
HOLDS = 0.93
"""Of intervals of 95 %; 300 seeds of a true 95 % are below 0.92 once in a hundred times."""


def population(seed=0, size=20_000):
    """Documents sorted from good to bad, most of the text in a few; and what is the matter."""
    chance = np.random.default_rng(seed)
    sizes = np.ceil(chance.lognormal(5, 1.8, size))
    place = np.arange(size) / size
    flags = {
        "common, towards the end": chance.random(size) < place,
        "one in thirty": chance.random(size) < 1 / 30,
        "twenty, all together": (np.arange(size) >= 7_000) & (np.arange(size) < 7_020),
        "the largest": sizes > np.quantile(sizes, 0.999),
        "one": np.arange(size) == 12_345,
        "none": np.zeros(size, dtype=bool),
        "all": np.ones(size, dtype=bool),
    }
    return sizes, flags


def drawn_alone(sizes, share, seed):
    """A sample of documents one by one, as a reader draws them from one shard."""
    certain = sizes.mean() / share
    draw = Draw(Chance(share, certain, seed), 0)
    places = np.array(draw.positions(0, sizes.astype(np.int64)))
    ones = np.ones(len(places))
    return places, Sample(
        chance=draw.table()["chance"].to_numpy(),
        held=ones,
        stretch=-np.ones(len(places), dtype=np.int64),
        size=sizes[places],
        documents=exactly(draw.documents),
        bytes=exactly(draw.bytes),
        share=share,
        certain=certain,
    )


def drawn_in_stretches(sizes, share, seed, count=400):
    """A sample in two steps: stretches of equally many documents, then documents within."""
    parts = np.array_split(np.arange(len(sizes)), count)
    spans = [Span(0, 0, -1, int(p[0]), len(p), int(sizes[p].sum())) for p in parts]
    blocks = [Block(n, (span,)) for n, span in enumerate(spans)]
    read = int(sizes.sum() / 5)
    chosen = scheme(blocks, sizes.mean(), share, seed, read=read, whole=0, fewest=0)
    found, held, stretches, chances, documents, text = [], [], [], [], [], []
    for block, chance in zip(chosen.blocks, chosen.held, strict=True):
        (span,) = block.spans
        draw = Draw(chosen.chance, 0, chance)
        mine = sizes[span.first_row : span.first_row + span.rows].astype(np.int64)
        places = np.array(draw.positions(span.first_row, mine), dtype=np.int64)
        found.append(places + span.first_row)
        chances.append(draw.table()["chance"].to_numpy())
        held.append(np.full(len(places), chance))
        stretches.append(np.full(len(places), block.number if chance < 1 else -1))
        documents.append(draw.documents)
        text.append(draw.bytes)
    places = np.concatenate(found)
    known = np.array(chosen.held), np.array(chosen.sizes, dtype=float), chosen.behind
    return places, Sample(
        chance=np.concatenate(chances),
        held=np.concatenate(held),
        stretch=np.concatenate(stretches),
        size=sizes[places],
        documents=total(np.array(documents, dtype=float), *known),
        bytes=total(np.array(text, dtype=float), *known),
        share=chosen.chance.share,
        certain=chosen.chance.certain,
    )


def coverage(draws, sizes, flags, seeds):
    """The share of seeds whose intervals hold the truth, by category: of documents, of bytes."""
    held = {name: np.zeros(2) for name in flags}
    for seed in range(seeds):
        places, sample = draws(sizes, 0.02, seed)
        for name, meant in flags.items():
            count, size = sample.count(meant[places]), sample.sum(sizes[places] * meant[places])
            held[name] += [
                np.floor(count.low) <= meant.sum() <= np.ceil(count.high),
                np.floor(size.low) <= sizes[meant].sum() <= np.ceil(size.high),
            ]
    return {name: tuple(found / seeds) for name, found in held.items()}


def test_intervals_hold_the_truth_in_a_sorted_corpus_with_long_tails():
    """Common and rare things, things in one place, in the largest documents, and what is not."""
    found = coverage(drawn_alone, *population(), SEEDS)
    assert {name: pair for name, pair in found.items() if min(pair) < HOLDS} == {}


def test_intervals_hold_where_stretches_are_drawn_from_a_sorted_corpus():
    """The bad case: documents that stand together are alike, and only some places are read."""
    sizes, flags = population()
    chance = np.random.default_rng(3)
    stretch = np.arange(len(sizes)) // 50
    flags["by stretch"] = chance.random(400)[stretch] < 0.3
    del flags["twenty, all together"]  # in one stretch of 400: only the zero bound can hold it
    found = coverage(drawn_in_stretches, sizes, flags, SEEDS // 2)
    assert {name: pair for name, pair in found.items() if min(pair) < HOLDS} == {}


def test_intervals_are_no_wider_than_a_plain_sample_of_the_size():
    """An interval that holds everything would hold the truth, too: these tell something."""
    sizes, flags = population()
    places, sample = drawn_alone(sizes, 0.02, 1)
    meant = flags["common, towards the end"]
    found = sample.count(meant[places])
    plain = 2 * 1.96 * (0.25 / (0.02 * len(sizes))) ** 0.5 * len(sizes)
    assert found.high - found.low < 1.25 * plain
    size = sample.sum(sizes[places] * meant[places])
    assert size.high - size.low < 1.25 * plain / len(sizes) * sizes.sum()
    none = sample.count(np.zeros(len(places), dtype=bool))
    assert (none.low, none.estimate) == (0, 0)
    assert none.high < 4 / 0.02


def test_an_interval_never_excludes_what_was_seen():
    """The lower bound is at least what the sample holds."""
    sizes, _ = population(size=600)
    places, sample = drawn_alone(sizes, 0.5, 2)
    flags = np.arange(len(places)) < 100
    assert sample.count(flags).low >= 100
    assert sample.at_least(flags / 2) >= 50


def test_a_whole_corpus_has_no_range():
    """What was measured in whole is known."""
    sample = Sample(
        *(np.ones(3), np.ones(3), -np.ones(3), np.ones(3)), exactly(3), exactly(3), 1.0, 1.0
    )
    assert sample.count(np.array([True, False, True])) == Interval(2, 2, 2)
    assert sample.sum(np.array([1.0, 0.0, 0.5])) == Interval(1.5, 1.5, 1.5)


@pytest.mark.parametrize("size", [10, 100, 1000])
def test_clopper_pearson_as_its_definition_says(size):
    """At the bounds, what was found is the 2.5 % tail of a binomial."""
    from scipy.stats import binom

    found = size // 5
    interval = clopper_pearson(found / size, size)
    assert binom.cdf(found, size, interval.high) == pytest.approx(0.025, rel=1e-6)
    assert binom.sf(found - 1, size, interval.low) == pytest.approx(0.025, rel=1e-6)


@given(st.lists(st.integers(-1, 5000), max_size=60), st.data())
def test_what_is_drawn_does_not_depend_on_how_a_shard_is_read(sizes, data):
    """In pieces or in one, the same rows are drawn, with the same chances; blank lines never."""
    sizes = np.array(sizes, dtype=np.int64)
    cut = data.draw(st.integers(0, len(sizes)))
    one, two = (Draw(Chance(0.3, 2000, 5), 1) for _ in "..")
    rows = one.positions(0, sizes)
    pieces = two.positions(0, sizes[:cut]), two.positions(cut, sizes[cut:])
    assert rows == [*pieces[0], *(cut + place for place in pieces[1])]
    assert one.table().equals(two.table())
    assert all(sizes[row] != NO_DOCUMENT for row in rows)
    assert {int(row) for row in np.flatnonzero(sizes >= 2000)} <= set(rows)
    assert (one.documents, one.bytes) == (int((sizes >= 0).sum()), int(sizes[sizes >= 0].sum()))


RECORDS = [{"id": str(i), "text": "word " * (i % 9), "n": i} for i in range(200)]


def write_shard(folder, form):
    """The records in one of the forms that readers know."""
    path = folder / f"shard.{form}"
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(RECORDS), path, row_group_size=60)
    elif form == "arrow":
        with pa.ipc.new_file(path, pa.Table.from_pylist(RECORDS).schema) as file:
            for start in range(0, 200, 50):
                file.write_table(pa.Table.from_pylist(RECORDS[start : start + 50]))
    elif form == "csv":
        rows = [f'{r["id"]},"{r["text"]}",{r["n"]}\n' for r in RECORDS]
        path.write_text("id,text,n\n" + "\n".join(rows))
    else:
        lines = b"\n\n".join(orjson.dumps(record) for record in RECORDS)
        path.write_bytes(gzip.compress(lines) if form.endswith("gz") else lines)
    return path


@pytest.mark.parametrize("form", ["parquet", "arrow", "csv", "jsonl", "jsonl.gz"])
def test_a_reader_reads_what_is_drawn_and_counts_the_rest(tmp_path, form):
    """Every form: with certainty all documents, with a chance some of the same, none invented."""
    given_ = Input(path=str(write_shard(tmp_path, form)))
    (shard,) = find_shards([given_])
    spans = glance(shard, given_).spans

    def read(draws):
        batches = [
            b for s, d in zip(spans, draws, strict=True) for b in readers.read(s, shard, given_, d)
        ]
        return {
            (int(row), t.as_py()) for b in batches for row, t in zip(b.rows, b.texts, strict=True)
        }

    everything = read([None] * len(spans))
    certain = [Draw(Chance(1.0, 1, 0), 0) for _ in spans]
    assert read(certain) == everything
    assert len(everything) == 200 == sum(draw.documents for draw in certain)
    some = [Draw(Chance(0.2, 1e9, 0), 0) for _ in spans]
    few = read(some)
    assert few < everything
    assert 15 < len(few) < 75
    assert sum(draw.documents for draw in some) == 200
    rows = [row for draw in some for row in draw.table()["row"].to_list()]
    assert sorted(rows) == sorted(row for row, _ in few)


def test_a_draw_goes_on_past_what_cannot_be_read(tmp_path):
    """Bad lines that are drawn are quarantined; a shard that breaks off is one, as in a run."""
    good = [orjson.dumps({"text": "x"})] * 50
    data = gzip.compress(b"\n".join([*good, b"{broken", *good]))
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(data[:-9])
    given_ = Input(path=str(path))
    (shard,) = find_shards([given_])
    (span,) = glance(shard, given_).spans
    batches = list(readers.read(span, shard, given_, Draw(Chance(1.0, 1, 0), 0)))
    reasons = [entry.reason for batch in batches for entry in batch.quarantined]
    assert "not_json" in reasons
    assert reasons.count("broken_shard") == 1


def test_small_corpora_are_taken_in_whole_and_large_ones_in_stretches():
    """The scheme: whole below a size, all stretches below another, else some, larger ones first."""

    def blocks(count, size):
        return [Block(n, (Span(n, 0, -1, 0, None, size),)) for n in range(count)]

    assert scheme(blocks(3, 1_000_000), 1000, 0.01, 0).chance is None
    assert scheme(blocks(3, 100_000_000), 1_000_000, 0.01, 0).chance is None  # 300 documents
    through = scheme(blocks(20, 30_000_000), 1000, 0.01, 0)
    assert through.held == (1.0,) * 20
    assert through.chance.share == 0.01
    some = scheme(blocks(1000, 30_000_000), 1000, 0.01, 0)
    assert len(some.blocks) == pytest.approx(2e9 / 30e6, abs=1)
    assert len(set(some.held)) == 1
    uneven = scheme([*blocks(900, 10_000_000), *blocks(20, 3_000_000_000)], 1000, 0.001, 0)
    assert uneven.held.count(1.0) == 20
    assert len(uneven.blocks) == pytest.approx(20 + FEWEST_STRETCHES, abs=1)

"""A million documents decided again in seconds: the whole command, start-up included."""

import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import orjson
import polars as pl
import pytest

from cleanpipe import ledger, store
from cleanpipe.measures.measure import block_name
from cleanpipe.planning.outlook import counted, extra_copies
from cleanpipe.planning.whatif import WhatIf
from cleanpipe.recipes.recipe_file import load
from cleanpipe.run import run

pytestmark = [pytest.mark.proof, pytest.mark.timeout(600)]
CLEANPIPE = Path(sys.executable).with_name("cleanpipe")
DOCUMENTS = 1_000_000
IN_A_BLOCK = 40_000
CANDIDATES = 250_000  # a quarter of the documents, as in debian_descriptions
RECIPE = {
    "version": 1,
    "seed": 1,
    "extends": ["gopher", "olmo2-repetition"],
    "measure": {"language": False},
    "dedup": {},
    "balance": {"by": "lang", "strategy": "temperature", "alpha": 0.7, "max_epochs": 2},
    "input": [{"path": "in.jsonl", "id": "id"}],
    "output": {"path": "out"},
}


@pytest.fixture(scope="module")
def million(tmp_path_factory):
    """The folder of a run whose tables were made to hold a million documents."""
    folder = tmp_path_factory.mktemp("million")
    words = [f"word{n}" for n in range(60)]
    lines = [
        {"id": str(i), "lang": "en", "text": " ".join(np.roll(words, i)) + "."} for i in range(50)
    ]
    (folder / "in.jsonl").write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    (folder / "recipe.yaml").write_bytes(orjson.dumps(RECIPE))
    small = run(folder / "recipe.yaml", workers=1).folder
    grow_measures(small)
    grow_pairs(small)
    recipe = load(small / "recipe.yaml")
    asked = WhatIf(small, recipe, recipe)
    documents = asked.documents
    rows = [IN_A_BLOCK] * (DOCUMENTS // IN_A_BLOCK)
    ledger.write_verdicts(small, ledger.verdicts(documents, ["in.jsonl"]), rows)
    stats = store.read_json(small / "stats.json")
    stats |= counted(documents, stats) | {"groups": documents.groups.to_dicts()}
    stats["copies"]["asked"] = extra_copies(documents)
    store.write_json(small / "stats.json", stats)
    return small


def grow_measures(run):
    """25 blocks of 40,000 documents: the columns of a real block, with values drawn anew."""
    chance = np.random.default_rng(0)
    first = pl.read_parquet(run / "measures" / "block-000000.parquet")
    receipt = store.read_json(run / "receipts" / "measure-block-000000.json")
    for block in range(DOCUMENTS // IN_A_BLOCK):
        rows = np.arange(block * IN_A_BLOCK, (block + 1) * IN_A_BLOCK)
        table = first[rows % first.height].with_columns(
            row=pl.Series(rows, dtype=pl.UInt64),
            id=pl.Series([f"corpus/part-{row % 977}/{row:08d}" for row in rows]),
            lang=pl.Series(chance.choice(["en", "de", "fr", "it", "da"], IN_A_BLOCK)),
            words=pl.Series(chance.geometric(0.004, IN_A_BLOCK)),
            stop_words=pl.Series(chance.integers(0, 9, IN_A_BLOCK)),
            mean_word_length=pl.Series(chance.normal(5.5, 1.2, IN_A_BLOCK)),
            alpha_word_frac=pl.Series(chance.beta(30, 2, IN_A_BLOCK)),
            # one in twenty texts occurs twice
            text_lo=pl.Series(chance.integers(0, 20 * IN_A_BLOCK, IN_A_BLOCK), dtype=pl.UInt64),
            text_hi=pl.lit(0, dtype=pl.UInt64),
            given=pl.Series(chance.integers(0, 2**63, IN_A_BLOCK), dtype=pl.UInt64),
        )
        table = table.with_columns(bytes=pl.col("words") * 6, chars=pl.col("words") * 6)
        path = run / "measures" / f"{block_name(block)}.parquet"
        arrow = table.select(first.columns).to_arrow()
        store.write_table(path, [arrow], arrow.schema, group=65_536)
        path = run / "receipts" / f"measure-{block_name(block)}.json"
        store.write_json(path, {**receipt, "block": block, "rows": IN_A_BLOCK})


def grow_pairs(run):
    """A quarter of the documents in buckets of five, and how similar those are."""
    chance = np.random.default_rng(1)
    rows = np.sort(chance.permutation(DOCUMENTS)[:CANDIDATES]).astype(np.uint64)
    old = pl.read_parquet(run / "pairs" / "candidates-00000.parquet")
    table = pl.DataFrame({"row": rows}).with_columns(
        shard=pl.lit(0, dtype=pl.UInt32), missing=pl.lit(0, dtype=pl.Int64)
    )
    for band, name in enumerate(old.columns[3:]):
        groups = band * CANDIDATES + np.arange(CANDIDATES) // 5
        shares = chance.random(CANDIDATES) < 0.4
        table = table.with_columns(
            pl.when(pl.Series(shares)).then(pl.Series(groups)).cast(pl.Int32).alias(name)
        )
    store_frame(run / "pairs" / "candidates-00000.parquet", table.select(old.columns))
    places = np.arange(CANDIDATES)
    late = np.concatenate([places[places % 5 >= step] for step in range(1, 5)])
    early = np.concatenate([places[places % 5 >= step] - step for step in range(1, 5)])
    pairs = pl.DataFrame(
        {
            "id": [f"{row:08d}" for row in rows[late]],
            "shard": np.zeros(len(late), np.uint32),
            "row": rows[late],
            "other_shard": np.zeros(len(late), np.uint32),
            "other_row": rows[early],
            "similarity": chance.uniform(0.4, 1.0, len(late)),
        }
    )
    store_frame(run / "pairs" / "pairs-00000.parquet", pairs)


def store_frame(path, frame):
    table = frame.to_arrow()
    store.write_table(path, [table], table.schema, group=65_536)


@pytest.mark.parametrize(
    "change",
    ["filter.words.low=40", "dedup.near.keep=[chars]", "dedup.near.threshold=0.9", "balance=null"],
)
def test_a_million_documents_in_five_seconds(million, change, capsys):
    """From the shell's prompt to the answer under 5 s; the memory is told."""
    command = [CLEANPIPE, "decide", million, "--set", change, "--json"]
    seconds = []
    for _ in range(3):
        started = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds.append(time.monotonic() - started)
        assert done.returncode == 0, done.stderr
    answer = orjson.loads(done.stdout)
    assert answer["documents"]["after"]["read"] == [DOCUMENTS] * 2
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    with capsys.disabled():
        sys.stdout.write(f"\n{change}: {sorted(seconds)[1]:.2f} s, {memory / 1e3:,.0f} MB\n")
    assert sorted(seconds)[1] < 5


def test_a_million_documents_as_they_are_change_nothing(million):
    """Without a change the answer is the run's own books."""
    done = subprocess.run([CLEANPIPE, "decide", million, "--json"], capture_output=True, check=True)
    answer = orjson.loads(done.stdout)
    assert answer["exact"]
    assert answer["newly_kept"]["documents"] == answer["newly_dropped"]["documents"] == [0, 0]

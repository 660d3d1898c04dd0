"""How often the ranges of plans hold what the run does: three corpora, as they are and sorted.

All of it takes 20 minutes on two busy cores, 11 of them of processor time.
"""

import io
from pathlib import Path

import numpy as np
import orjson
import polars as pl
import pytest
import zstandard
from test_draw import drawn_in_stretches

from cleanpipe.input.draw import Chance, Draw
from cleanpipe.input.intake import find_shards
from cleanpipe.planning.intervals import Sample, exactly
from cleanpipe.planning.plan import Sampled, plan
from cleanpipe.recipes.recipe import Recipe
from cleanpipe.recipes.recipe_file import load
from cleanpipe.run import open_pool, silent

pytestmark = [pytest.mark.proof, pytest.mark.corpora, pytest.mark.timeout(7200)]
FILES = {
    "debian_descriptions": "data.jsonl.zst",
    "20news_bydate": "data.jsonl.zst",
    "web_pages": "fulltext.jsonl.zst",
}
SHARDS = 8
SEEDS = 300
HOLDS = 0.93
EACH_HOLDS = 0.91
"""Of 300 samples a range of true 95 % holds in fewer than 91 % once in a thousand rules."""
BYTES_OF_STRETCHES_HOLD = 0.87
"""Where few long documents are most of a rule's text, a sample of stretches may meet none of them:
six of 369 that `dup_5gram_char_frac` drops hold two fifths of its bytes, and 11 % of the ranges end
too low (docs/plan.md)."""
RECIPE = """
version: 1
seed: 1
extends: [gopher, olmo2-repetition]
measure: {language: true}
filter: {where: "lang_score >= 0.5"}
output: {path: out}
"""


@pytest.fixture(scope="module", params=[(c, o) for c in FILES for o in ("as it is", "sorted")])
def measured(request, corpora, tmp_path_factory):
    """A corpus in eight shards, all of it measured: its recipe, records' sizes, and fates."""
    corpus, order = request.param
    folder = tmp_path_factory.mktemp("corpus")
    with (corpora / corpus / FILES[corpus]).open("rb") as file:
        lines = io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(file))
        names = ("id", "text", "source", "lang")
        rows = [{name: row.get(name) for name in names} for row in map(orjson.loads, lines)]
    frame = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String)).rename({"lang": "given"})
    if order == "sorted":
        frame = frame.sort("given", "source", pl.col("text").str.len_bytes(), nulls_last=True)
    step = -(-frame.height // SHARDS)
    for number in range(SHARDS):
        path = folder / f"{number}.parquet"
        frame[number * step : (number + 1) * step].write_parquet(path)
    (folder / "recipe.yaml").write_text(RECIPE)
    recipe = load(folder / "recipe.yaml", input=f"{folder}/*.parquet", output=folder / "out")
    truth = truth_of(recipe, folder)
    sizes = frame["text"].str.len_bytes().fill_null(0).to_numpy().astype(float)
    return f"{corpus}, {order}", recipe, sizes, truth, step


def truth_of(recipe: Recipe, folder: Path) -> pl.DataFrame:
    """What becomes of each document (stage and rule, or `kept`), and its clean bytes."""
    output = recipe.output.model_copy(update={"path": str(folder / "whole")})
    inside = recipe.model_copy(update={"output": output})
    with open_pool(inside, 2, silent) as pool:
        shards = find_shards(recipe)
        work = Sampled(inside, pool, silent, shards, 1.0, 0, whole=1 << 60)
        work.foretold(recipe)
    rules = work.decisions.reasons["rule"].fill_null("kept")
    return pl.DataFrame(
        {"fate": rules, "bytes": work.decisions.documents.columns(("bytes",))["bytes"].fill_null(0)}
    )


def drawn(sizes, share, seed, step):
    """A sample as the readers of the shards draw it."""
    chance = Chance(share, sizes.mean() / share, seed)
    places, chances = [], []
    for shard, start in enumerate(range(0, len(sizes), step)):
        draw = Draw(chance, shard)
        found = np.array(draw.positions(0, sizes[start : start + step].astype(np.int64)), dtype=int)
        places.append(found + start)
        chances.append(draw.table()["chance"].to_numpy())
    where = np.concatenate(places)
    ones = np.ones(len(where))
    return where, Sample(
        chance=np.concatenate(chances),
        held=ones,
        stretch=-np.ones(len(where), dtype=np.int64),
        size=sizes[where],
        documents=exactly(len(sizes)),
        bytes=exactly(float(sizes.sum())),
        share=share,
        certain=chance.certain,
    )


def coverage(draws, truth):
    """By fate: how often ranges of documents and of bytes hold the truth."""
    fates, text = truth["fate"].to_numpy(), truth["bytes"].to_numpy().astype(float)
    known = sorted(set(fates))
    held = {fate: np.zeros(2) for fate in known}
    for seed in range(SEEDS):
        places, sample = draws(seed)
        quarters = np.quantile(text, (0.25, 0.5, 0.75))
        sizes = [text[places] > quarter for quarter in quarters]
        sample = sample.judged_by([*sizes, *(fates[places] == fate for fate in known)])
        for fate in known:
            meant = fates == fate
            found = sample.count(meant[places]), sample.sum(text[places] * meant[places])
            real = meant.sum(), text[meant].sum()
            held[fate] += [
                i.to_json()["low"] <= r <= i.to_json()["high"]
                for i, r in zip(found, real, strict=True)
            ]
    return {fate: hits / SEEDS for fate, hits in held.items()}


@pytest.mark.parametrize("how", ["documents, 1 %", "documents, 5 %", "stretches, 5 %"])
def test_ranges_hold_in_nineteen_of_twenty_samples(measured, how, capsys):
    """All rules together, each rule, and what is kept; documents and bytes."""
    name, _, sizes, truth, step = measured
    share = 0.01 if "1 %" in how else 0.05
    if how.startswith("stretches"):
        if len(sizes) < 10_000:
            pytest.skip("too few documents to be drawn in stretches")
        found = coverage(lambda seed: drawn_in_stretches(sizes, share, seed, 500), truth)
    else:
        found = coverage(lambda seed: drawn(sizes, share, seed, step), truth)
    every = np.mean(list(found.values()), axis=0)
    least = min(found, key=lambda fate: found[fate].min())
    documents, text = (min(hits[i] for hits in found.values()) for i in range(2))
    with capsys.disabled():
        kept = found["kept"]
        print(  # noqa: T201 - for docs/numbers.md
            f"\n| {name} | {how} | {len(found)} | {every[0]:.3f} | {every[1]:.3f} "
            f"| {kept[0]:.3f} | {kept[1]:.3f} | {found[least].min():.3f} ({least}) |"
        )
    assert every.min() >= HOLDS
    assert documents >= EACH_HOLDS
    assert text >= (BYTES_OF_STRETCHES_HOLD if how.startswith("stretches") else EACH_HOLDS)


def test_plans_of_the_whole_way_hold(measured):
    """Five plans in processes, from shards to JSON: their ranges hold the run's numbers."""
    _, recipe, _, truth, _ = measured
    fates = dict(truth["fate"].value_counts().iter_rows())
    held = []
    for seed in range(5):
        told = plan(recipe, share=0.01, seed=seed)
        found = {line["rule"]: line["documents"] for line in told["attrition"]}
        found["kept"] = told["kept"]["documents"]
        held += [line["low"] <= fates.get(name, 0) <= line["high"] for name, line in found.items()]
        held.append(told["text"]["low"] <= truth["bytes"].sum() <= told["text"]["high"])
    assert np.mean(held) >= HOLDS
    assert not Path(recipe.output.path).exists()

"""A finished run's page again: with other samples of its documents, or for somebody else."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from cleanpipe import store
from cleanpipe.errors import InputError
from cleanpipe.input import corpus
from cleanpipe.recipes.recipe import Recipe
from cleanpipe.recipes.recipe_file import load
from cleanpipe.report import examples, rendering
from cleanpipe.report.excerpts import Samples
from cleanpipe.report.shown import listed as listed_in
from cleanpipe.stability.probe.placed import LIMITS, batch_rows, batch_setting
from cleanpipe.stability.probe.shown import rows, setting, sweep_rows

_TOLD: store.Record = {
    "rows": [],
    "twins": "",
    "arms": [],
    "trained": "",
    "limits": "",
    "copies": True,
    "batches": [],
    "fitted": "",
    "batches_limits": LIMITS,
}
"""What a page says of an experiment that was not named."""


def redraw(run: Path, samples: Samples | None, output: Path, *probes: Path) -> Path:
    """Write a run's page to `output`; the run's own, which the manifest vouches for, stays.

    The documents of the samples are read again where `samples` is not what the run has shown.
    `probes` are the probe.json of `cleanpipe stability probe`, the sweep.json of `stability sweep`,
    the calibration.json of `stability calibrate`: of each at most one.
    Raises InputError where a file is gone, another, or no probe.
    """
    recipe = load(run / "recipe.yaml")
    known = rendering.material(run, recipe, store.read_json(run / "stats.json"))
    if samples is not None and samples != known.examples["samples"]:
        shown = again(run, recipe, samples, known.examples)
        listed = listed_in(run, recipe.seed or 0, shown)
        known = replace(known, examples=shown, listed=listed)
    for path in probes:
        known = replace(known, probe=_both(known.probe, _probe(path), path))
    page = rendering.render("report.html.jinja", known)
    store.write_file(output, lambda file: file.write(page.encode()))
    return output


def _probe(path: Path) -> store.Record:
    try:
        result = orjson.loads(path.read_bytes())
        if "proxies" in result:
            return _TOLD | {"batches": batch_rows(result), "fitted": batch_setting(result)}
        arms = result if "arms" in result else result.get("sweep")
        found = _TOLD | {
            "rows": rows(result) if "settings" in result else [],
            "twins": setting(result) if "settings" in result else "",
            "arms": sweep_rows(arms) if arms else [],
            "trained": setting(arms) if arms else "",
            "limits": result["limits"],
            "copies": result.get("copies", True),
        }
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{path}: expected the probe.json that `cleanpipe stability probe` writes, the "
            "sweep.json of `cleanpipe stability sweep` or the calibration.json of `cleanpipe "
            f"stability calibrate` ({error!r})"
        ) from error
    return found


def _both(before: store.Record, now: store.Record, path: Path) -> store.Record:
    """What two files tell, if none tells what the other does."""
    if any(before.get(name) and now[name] for name in ("rows", "arms", "batches")):
        raise InputError(
            f"{path} holds the same kind of experiment as a file before it; name one of each kind"
        )
    return {name: before.get(name) or told for name, told in now.items()} | {
        "copies": before.get("copies", True) and now["copies"]
    }


def again(run: Path, recipe: Recipe, samples: Samples, known: store.Record) -> store.Record:
    """examples.json with other samples: the same documents, read again file by file."""
    picks: list[examples.Pick] = [] if samples == "none" else known["picks"]
    inputs = store.read_json(run / "inputs.json")
    shards = [corpus.Shard.from_json(entry["shard"]) for entry in inputs]
    wanted: dict[int, list[examples.Pick]] = defaultdict(list)
    for pick in picks:
        wanted[pick["shard"]].append(pick)
    texts: dict[tuple[int, int], tuple[str, str]] = {}
    for number, places in wanted.items():
        for found in _read(run, recipe, shards, number, places, inputs[number]["xxh3_128"]):
            shard, row, before, after = found
            texts[shard, row] = before, after
    return examples.told(picks, texts, samples)


def _read(
    run: Path,
    recipe: Recipe,
    shards: list[corpus.Shard],
    number: int,
    places: list[dict[str, Any]],
    expected: str,
) -> list[tuple[int, int, str, str]]:
    # a file that was copied or touched since is the same as long as its bytes are
    shard = corpus.as_it_is_now(shards[number])
    index = corpus.index_shard(shard, recipe.input[shard.input])
    if index.content_hash != expected:
        raise InputError(
            f"{shard.path} is no longer the file that run {run.name} read: its documents cannot be "
            "shown. Draw the page without --samples, or with --samples none"
        )
    now = (*shards[:number], shard, *shards[number + 1 :])
    found = []
    for block in corpus.blocks([index]):
        spans = [(s.first_row, s.rows) for s in block.spans]
        inside = [
            place
            for place in places
            if any(
                first <= place["row"] and (count is None or place["row"] < first + count)
                for first, count in spans
            )
        ]
        if inside:
            found += examples.read_block(run, recipe, recipe.seed or 0, block, now, inside)
    return found

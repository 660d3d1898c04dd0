"""One document's story: what it measured, what each rule said, what it gave way to, its text."""

from pathlib import Path
from typing import Any

import polars as pl

from cleanpipe import ledger, plain, store
from cleanpipe.duplicates import cuts
from cleanpipe.duplicates.dedup import Column
from cleanpipe.errors import InputError
from cleanpipe.export.published import tables
from cleanpipe.input import corpus
from cleanpipe.input.reread import reread
from cleanpipe.measures import contamination
from cleanpipe.measures.measure import OWN
from cleanpipe.recipes.recipe import Recipe
from cleanpipe.recipes.recipe_file import load
from cleanpipe.report.excerpts import side_by_side
from cleanpipe.rules.urls import CAP
from cleanpipe.text.fixes import FIXES


def stories(run: Path, name: str) -> list[dict[str, Any]]:
    """The stories of all documents with this id, the text before and after among them.

    Of the published run of several nights, those of the earlier nights, too.
    """
    runs = [run.parent / night for night in _nights(run)]
    found = [(one, verdict) for one in runs for verdict in ledger.search(one, name).to_dicts()]
    if not found:
        ledger.find(run, name)
    return [{**_story(one, verdict), "run": one.name} for one, verdict in found]


def _nights(run: Path) -> list[str]:
    """The runs whose parts are published beside this one's, and itself, oldest first."""
    manifest = store.current_manifest(run.parents[2]) or {}
    if manifest.get("run") != run.name:
        return [run.name]
    return [*(night["run"] for night in manifest.get("nights", ())), run.name]


def _story(run: Path, verdict: dict[str, Any]) -> dict[str, Any]:
    inputs = store.read_json(run / "inputs.json")
    shards = tuple(corpus.Shard.from_json(entry["shard"]) for entry in inputs)
    number = next(shard.number for shard in shards if shard.name == verdict["shard"])
    table = ledger.measures_of(run, number, verdict["row"])
    line = table.row(0, named=True)
    story: dict[str, Any] = {"verdict": verdict}
    if verdict["verdict"] == "quarantined":
        return story | {"quarantine": _quarantined(run, verdict)}
    recipe = load(run / "recipe.yaml")
    story["rules"], changed = _rules(recipe, run, table, verdict)
    if changed:
        story["changed_lists"] = changed
    story["measures"] = {
        key: value for key, value in line.items() if key not in OWN and value is not None
    }
    if found := contamination.of_document(table):
        story["evaluations"] = found
    if verdict["duplicate_of"] is not None:
        story["representative"] = _representative(_run_of(run, verdict), verdict)
    if verdict["rule"] == "column" and recipe.dedup is not None and recipe.dedup.column is not None:
        story["equal"] = _equal(run, verdict, table, shards, recipe.dedup.column)
    if line["early"] is None or line["early"] == "nothing_left":
        before, after, normalized, cut = _texts(table, recipe, shards, run)
        story |= {"before": before, "after": after}
        story["fixes"] = recipe.normalize.explain(before)
        if verdict["rule"] == "near" or (verdict["duplicate_of"] and verdict["stage"] is None):
            story["beside"] = _beside(run, verdict, recipe, shards, after)
        if cut.height:
            story["cuts"] = _cuts(run, normalized, cut, shards)
    else:
        bits = line["fixes"] or 0
        story["fixes"] = [fix for place, fix in enumerate(FIXES) if bits >> place & 1]
    return story


def _rules(
    recipe: Recipe, run: Path, table: pl.DataFrame, verdict: dict[str, Any]
) -> tuple[list[dict[str, Any]], list[str]]:
    """What each rule says of the document, and the lists that are not the run's any more.

    Where a list was changed or is gone, the rules over lists are left out: what they would say now
    is not what was decided. A cap's rank is known of the documents that it dropped.
    """
    rules, urls = recipe.filter, recipe.filter.urls
    if urls is None:
        return rules.explain(table), []
    changed = urls.changed_lists(store.read_json(run / "identity.json")["lists"])
    if changed:
        rules = rules.model_copy(update={"urls": None})
    lines = rules.explain(table)
    if urls.per_domain is not None:
        fails = verdict["rule"] == CAP
        line = {"rule": CAP, "low": None, "high": float(urls.per_domain), "fails": fails}
        line["value"] = verdict["value"] if fails else None
        line["applies"] = urls.domains(table)[0] is not None
        lines.append(line)
    return lines, changed


def _run_of(run: Path, verdict: dict[str, Any]) -> Path:
    """The run that read the document which stands for this one: an earlier night's, perhaps."""
    return run.parent / (verdict.get("duplicate_run") or run.name)


def _representative(run: Path, verdict: dict[str, Any]) -> dict[str, Any]:
    """What became of the document that this one gave way to: a later stage may have dropped it."""
    place = (pl.col("shard") == verdict["duplicate_shard"]) & (
        pl.col("row") == verdict["duplicate_row"]
    )
    found = ledger.load_verdicts(run).filter(place)
    return found.select("id", "verdict", "stage", "rule", "copies").collect().row(0, named=True)


def _beside(
    run: Path,
    verdict: dict[str, Any],
    recipe: Recipe,
    shards: tuple[corpus.Shard, ...],
    after: str,
) -> dict[str, Any]:
    """The text of the document that stands for this one, and what this one has that it has not."""
    if verdict.get("duplicate_run"):
        best = _published(run.parents[2], verdict)
    else:
        number = next(s.number for s in shards if s.name == verdict["duplicate_shard"])
        other = ledger.measures_of(run, number, verdict["duplicate_row"])
        best = _texts(other, recipe, shards, run)[1]
    return {"text": best, "differs": side_by_side(best, after)}


def _published(output: Path, verdict: dict[str, Any]) -> str:
    """The text of an earlier night's document, from the parts: its input may be gone."""
    night = f"data/{verdict['duplicate_run']}/"
    for part in (store.current_manifest(output) or {"parts": ()})["parts"]:
        if part["path"].startswith(night):
            for table in tables(output / part["path"]):
                rows = pl.DataFrame(table.select(["id", "copy", "text"]))
                found = rows.filter(id=verdict["duplicate_of"], copy=0)
                if found.height:
                    return str(found["text"][0])
    return "(taken out since)"


def _equal(
    run: Path,
    verdict: dict[str, Any],
    table: pl.DataFrame,
    shards: tuple[corpus.Shard, ...],
    column: Column,
) -> dict[str, Any]:
    """The values of the two documents in the column, and what of them is equal."""
    name = verdict["duplicate_shard"]
    number = next(shard.number for shard in shards if shard.name == name)
    other = ledger.measures_of(run, number, verdict["duplicate_row"])
    values = [pl.Series(plain.as_text(one[column.name].to_arrow())) for one in (table, other)]
    return {
        "column": column.name,
        "compared": column.forms(values[0])[0],
        "value": values[0][0],
        "other": values[1][0],
    }


def _cuts(
    run: Path, normalized: str, cut: pl.DataFrame, shards: tuple[corpus.Shard, ...]
) -> list[dict[str, Any]]:
    """The spans cut from a document, each with its owner: the document that keeps it."""
    text = normalized.encode()
    names = [shard.name for shard in shards]
    places = cut.select(
        "start",
        "end",
        row=pl.col("owner_row"),
        shard=pl.col("owner_shard").replace_strict(range(len(names)), names),
    )
    columns = ("shard", "row", "id", "verdict")
    verdicts = ledger.load_verdicts(run).select(columns)
    owners = verdicts.join(places.lazy(), on=("shard", "row"), how="semi").collect()
    named = places.join(owners, on=("shard", "row"), how="left", maintain_order="left")
    return [
        {"text": text[span["start"] : span["end"]].decode(), "owner": span["id"], **span}
        for span in named.to_dicts()
    ]


def _texts(
    table: pl.DataFrame, recipe: Recipe, shards: tuple[corpus.Shard, ...], run: Path
) -> tuple[str, str, str, pl.DataFrame]:
    """The text as it came and as it is written, and what was cut from which text between."""
    number = table["shard"][0]
    # a file that was copied or touched since is the same as long as its bytes are
    shard = corpus.as_it_is_now(shards[number])
    index = corpus.index_shard(shard, recipe.input[shard.input])
    if index.content_hash != store.read_json(run / "inputs.json")[number]["xxh3_128"]:
        raise InputError(
            f"{shard.path} is no longer the file that run {run.name} read: its text cannot be "
            "shown. What was decided stands in the ledger (runs/*/verdicts)"
        )
    now = (*shards[:number], shard, *shards[number + 1 :])
    cut = cuts.of_document(run, number, table["row"][0]) if recipe.cuts else pl.DataFrame()
    blocks = corpus.blocks([index])
    again = next(reread(table, recipe, recipe.seed or 0, blocks, now, lambda _: cut))
    normalized = recipe.normalize.apply(again.original).texts[0].as_py() if cut.height else ""
    return again.original[0].as_py(), again.texts[0].as_py(), normalized, cut


def _quarantined(run: Path, verdict: dict[str, Any]) -> list[dict[str, Any]]:
    """What quarantine keeps of a record: what was wrong, where, and its first bytes."""
    lines = (
        line
        for path in sorted((run / "quarantine").glob("*.jsonl.zst"))
        for line in store.read_lines(path)
    )
    place = verdict["shard"], verdict["row"]
    return [line for line in lines if (line["shard"], line["row"]) == place]

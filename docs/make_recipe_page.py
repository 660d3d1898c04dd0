"""Write recipe.md: every option of a recipe, from the docstrings of the models that read it.

    python docs/make_recipe_page.py

What stands in the page beside options is here: the way in, the examples. A test holds the page up
to date, and loads its examples.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cleanpipe.presets import files
from cleanpipe.recipes.recipe import Recipe
from cleanpipe.rules.gates import BY_RULE, DRIFT_ABOUT, METRICS
from cleanpipe.stats.drift import STATISTICS

PAGE = Path(__file__).parent / "recipe.md"
Schema = Mapping[str, Any]

HEAD = """\
# The recipe: every option

<!-- written by docs/make_recipe_page.py from the models' docstrings: edit these, or that -->

A recipe is a YAML file. This is a whole one; everything else has a default:

```yaml
input: corpus            # a file, a folder, a pattern, or a list of them
output: clean
extends: [gopher]        # presets, later ones win; what stands below wins over them
filter:
  words: {low: 20}
dedup: {}
```

- [configs/](../configs) holds recipes to start from.
- Paths go from the recipe's folder. `false` or `null` switches off a section, a rule, a preset's
  bound.
- Every option can be given on the command line by its dotted name, as it stands in the tables:
  `--set filter.words.low=40 --set dedup.near=null`. Lists are numbered: `--set input.0.text=body`.
- A wrong name or value is refused with file, line, column and the nearest right name.
  `cleanpipe schema` prints the JSON Schema for editors; `cleanpipe plan` says what a recipe does.
- What a run used, every default written out, is in its folder: `_cleanpipe/runs/0001/recipe.yaml`.

| I want to | option |
|---|---|
| name the column that holds the text, or the ids | [`input.text`, `input.id`](#input) |
| read files of an odd ending, or not in UTF-8 | [`input.format`, `input.encoding`](#input) |
| repair encodings, HTML, white space | [`normalize.fixes`](#normalize), [fixes.md](fixes.md) |
| take e-mail and IP addresses out | [`normalize.pii`](#normalizepii) |
| drop menus, page numbers, short lines | [`normalize.lines`](#normalizelines) |
| drop documents by a measure | [`filter`](#filter), [measures.md](measures.md) |
| drop by a column, or by several measures together | [`filter.where`](#filter) |
| keep some languages only | [`filter.where`: `lang IN ('en', 'de')`](#filter) |
| use other bounds for a language | [`filter.MEASURE.by_lang`](#filter) |
| drop by domain or URL, or cap the documents of a host | [`filter.urls`](#filterurls) |
| cut menus and notices that stand on many pages | [`cuts`](#cuts), [cuts.md](cuts.md) |
| start from published rules | [`extends`](#the-whole), [presets.md](presets.md) |
| drop duplicates; choose which one stays | [`dedup`, `dedup.near.keep`](#dedup) |
| keep evaluation sets out | [`measure.evaluations`](#measureevaluations) |
| score documents by a model of mine | [`measure.models`](#measuremodels), [models.md](models.md) |
| count tokens | [`measure.tokenizer`](#measure) |
| fix the shares of languages or sources | [`balance`](#balance) |
| write another format, smaller parts, measures beside the text | [`output`](#output) |
| keep texts out of the report, or show them unmasked | [`report.samples`](#report) |
| fail a nightly run in which too much was dropped | [`gates`](#gates) |
| fit a small machine | [`memory`](#the-whole), `run --workers` |
| use many machines | [`machines`](#the-whole), [many-machines.md](many-machines.md) |
"""

TITLE = {"": "The whole"}
EXAMPLES = {
    "": """\
extends: [gopher, fineweb]
seed: 0
memory: 8GB
machines: dask:tcp://10.0.0.1:8786
order: [dedup, filter, balance]
input: corpus
output: clean
""",
    "input": """\
input:
  - news/2024                                     # a folder, its formats by ending
  - {path: "web/*.jsonl.zst", source: web, text: body, id: uri}
  - {path: notes.txt, document: line, encoding: cp1252}
  - {path: old.csv, rename: {copy: copy_of}}
""",
    "normalize": """\
normalize:
  fixes: [+html, -spaces]                         # changes to the default
  pii: {email: "<EMAIL>", ip: "<IP>"}
  urls: "<URL>"
  unbroken_runs: {longer_than: 1000}
  lines: {policy_lines: true, short_lines: 3}
""",
    "cuts": """\
cuts: {unit: lines, min_words: 10, min_documents: 3, same_digits: false}
""",
    "measure": """\
measure:
  language: {threshold: 0.5}
  models: {quality: quality.bin}
""",
    "filter": """\
filter:
  words: {low: 50, high: 100_000, by_lang: {ja: {low: 30}, th: null}}
  stop_words: {low: 2, langs: [en]}
  repeat_run: {high: 31}
  year: {low: 2000}                               # a column of the input that holds numbers
  where: lang IN ('en', 'de') AND lang_score >= 0.65
  urls: {blocked_domains: [blocked.txt], per_domain: 1000}
""",
    "dedup": """\
dedup:
  column: {name: url, normalize: url}
  exact: true
  near: {threshold: 0.8, keep: [replacement_chars, -chars, id]}   # '-': the larger first
""",
    "balance": """\
balance: {by: lang, strategy: temperature, alpha: 0.3, max_epochs: 4}
""",
    "augment": """\
balance: {by: lang, max_epochs: 4}
augment: {operations: [sentence_shuffle]}
""",
    "output": """\
output: {path: clean, format: jsonl, shard_size: 64MB, columns: [lang, words]}
""",
    "report": """\
report: {samples: none}
""",
    "gates": """\
gates:
  kept_share: {low: 0.5}
  dropped_by_words: {high: 0.2, on_fail: warn}
  drift.words.psi: {high: 0.2}
""",
}
OPEN = {"filter": "MEASURE", "gates": "METRIC"}
"""What stands for the names that a section takes beside its options."""


def page() -> str:
    """The text of recipe.md."""
    schema = Recipe.model_json_schema()
    schema["properties"]["extends"]["description"] = (
        "Presets to start from, later ones win; what the recipe says wins over them.\n\nThese are: "
        f"{', '.join(f'`{name}`' for name in sorted(files()))}; what each drops: "
        "[presets.md](presets.md)."
    )
    schema["properties"].pop("notices")  # what a run writes into its own recipe
    top = schema["properties"]
    needed = ["input", "output"]
    whole = {"description": Recipe.__doc__, "properties": top, "required": needed}
    lines = [HEAD, *_section("", whole, schema)]
    for name, option in top.items():
        model = _model(option, schema)
        if model is not None:
            lines += _section(name, model, schema)
    return "\n".join(lines).rstrip("\n") + "\n"


def _section(path: str, model: Schema, root: Schema) -> Iterator[str]:
    """A heading, what the model says of itself, an example, a row an option; then those below."""
    yield f"{'##' if '.' not in path else '###'} {TITLE.get(path) or path}\n"
    yield _without_doctest(model.get("description", "")) + "\n"
    if path in EXAMPLES:
        yield f"```yaml\n{EXAMPLES[path]}```\n"
    yield from ("| option | what it takes | default | meaning |", "|---|---|---|---|")
    below, more = {}, []
    for name, option, is_needed in _options(path, model, root):
        full = f"{path}.{name}" if path else name
        about, _, rest = option.get("description", "").partition("\n\n")
        default = "needed" if is_needed else _default(option)
        yield f"| `{full}` | {_takes(option, root, full)} | {default} | {_cell(about)} |"
        if rest:
            more.append(f"`{full}`: {rest}\n")
        inner = _model(option, root)
        if inner is not None and path and f"#{_anchor(full)})" in _takes(option, root, full):
            below[full] = inner
    yield ""
    yield from more
    if path == "filter":
        yield (
            "MEASURE is one of the names in [measures.md](measures.md), of `measure.models` or\n"
            "`measure.custom`, or a column of the input that holds numbers.\n"
        )
    if path == "gates":
        plain = {name: about for name, about in METRICS.items() if not name.startswith(BY_RULE)}
        yield from ("| METRIC | what it is |", "|---|---|")
        yield from (f"| `{name}` | {about} |" for name, about in plain.items())
        first = "documents that `filter.RULE` was the first to drop, of those read"
        yield f"| `{BY_RULE}RULE` | {first} |"
        forms = ", ".join(f"`drift.{side}MEASURE.STATISTIC`" for side in ("", "raw."))
        named = ", ".join(f"`{name}`" for name in STATISTICS)
        yield f"| {forms} | {DRIFT_ABOUT}. STATISTIC is {named}: [drift.md](drift.md) |\n"
    for full, inner in below.items():
        yield from _section(full, inner, root)


def _options(path: str, model: Schema, root: Schema) -> Iterator[tuple[str, Schema, bool]]:
    """The options of a section: (name, schema, whether it is needed)."""
    properties, needed = dict(model["properties"]), model.get("required", ())
    if path in OPEN:
        rule = root["$defs"]["Rule" if path == "filter" else "Gate"]
        for name, option in rule["properties"].items():
            yield f"{OPEN[path]}.{name}", option, False
        properties = {n: properties[n] for n in ("where", "urls") if path == "filter"}
    for name, option in properties.items():
        yield name, option, name in needed


def _model(option: Schema, root: Schema) -> Schema | None:
    """The model of an option that is a mapping of options, or a list or mapping of these."""
    for one in (option, *option.get("anyOf", ())):
        named = one.get("additionalProperties")
        either = (one, one.get("items", {}), named if isinstance(named, dict) else {})
        for inner in (*either, *one.get("patternProperties", {}).values()):
            for ref in (inner, *inner.get("anyOf", ())):
                if "$ref" in ref:
                    found: Schema = root["$defs"][ref["$ref"].rpartition("/")[2]]
                    return found
    return None


def _takes(option: Schema, root: Schema, path: str) -> str:
    """What may be written there, in words."""
    if option.get("$ref") == "#/$defs/Bounds":  # a section for two options that are there already
        return "`{low: ..., high: ...}`"
    if "$ref" in option:
        return f"[options](#{_anchor(path)})"
    if _is_size(option):
        return "a size: bytes, or text such as `64MB`"
    if "anyOf" in option:
        kinds = [one for one in option["anyOf"] if one.get("type") != "null"]
        told = [_takes(one, root, path) for one in kinds if "const" not in one]
        told += [f"`{json.dumps(one['const'])}`" for one in kinds if "const" in one]
        return ", or ".join(told).replace(", or `false`, or `false`", ", or `false`")
    if "enum" in option or "const" in option:
        values = option.get("enum", [option.get("const")])
        return ", ".join(f"`{value}`" for value in values) if len(values) < 8 else "a name (below)"
    kind = option.get("type")
    if kind == "array":
        return f"list of: {_takes(option.get('items', {}), root, path)}"
    if kind == "object":
        inner = option.get("additionalProperties") or {}
        inner = next(iter(option.get("patternProperties", {}).values()), inner)
        return f"mapping of names to: {_takes(inner, root, path)}" if inner else "mapping"
    names = {"integer": "whole number", "number": "number", "boolean": "`true`, `false`"}
    return names.get(str(kind), "text") + _limits(option)


def _is_size(option: Schema) -> bool:
    kinds = option.get("anyOf", ())
    return any("pattern" in one for one in kinds) and any(
        one.get("type") == "integer" for one in kinds
    )


def _limits(option: Schema) -> str:
    low, high = option.get("minimum"), option.get("maximum")
    if "exclusiveMinimum" in option:
        return " above " + str(option["exclusiveMinimum"])
    if low is not None and high is not None and high < 1 << 53:
        return f", {low:,} to {high:,}"
    return f" from {low:,}" if low is not None else ""


def _default(option: Schema) -> str:
    value = option.get("default")
    if (
        value is None
        or value in ({}, [], "")
        or (isinstance(value, dict) and not any(value.values()))
    ):
        return "none"
    if isinstance(value, dict):
        return "on"
    if _is_size(option):
        return f"`{value // 1_000_000}MB`"
    if isinstance(value, list):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{value}`".replace("|", "\\|") if isinstance(value, str) else f"`{json.dumps(value)}`"


def _anchor(path: str) -> str:
    return path.replace(".", "").lower()


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _without_doctest(text: str) -> str:
    paragraphs = "\n".join(line.strip() for line in text.strip().split("\n")).split("\n\n")
    return "\n\n".join(one for one in paragraphs if not one.startswith(">>>"))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

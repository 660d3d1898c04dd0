"""The report: one offline page about a run, and its short form in Markdown.

Numbers come from stats.json, excerpts from examples.json, documents to search in from the ledger.
Text is escaped by the template engine, pictures are SVG with numbers for attributes; the page holds
one script, ours, named by its hash, and may not load anything.
"""

import base64
import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jinja2

from cleanpipe import store
from cleanpipe.errors import InputError
from cleanpipe.recipes.recipe import Recipe
from cleanpipe.report import findings, pictures, rules, shown, trend
from cleanpipe.report.excerpts import NameMask
from cleanpipe.report.summary import attrition, cut_told, megabytes, share
from cleanpipe.stats.stats import STABILITY

HERE = Path(__file__).parent
BARS_SAY = (
    "The bars count documents, their heights go by the square root so that rare ones can be seen: "
    "grey what was read, coloured what was kept."
)
SECTIONS = (
    ("funnel", "Stages"),
    ("attrition", "What was dropped"),
    ("gates", "Gates"),
    ("rules", "Rules"),
    ("examples", "Examples"),
    ("fixes", "Fixes"),
    ("cuts", "Cuts"),
    ("duplicates", "Duplicates"),
    ("evaluations", "Evaluation sets"),
    ("lengths", "Lengths"),
    ("groups", "Languages, sources"),
    ("diversity", "Diversity"),
    ("balance", "Balance"),
    ("stability", "Stability"),
    ("holders", "Repeats"),
    ("probe", "Probe"),
    ("trend", "Runs"),
    ("documents", "Find a document"),
    ("origin", "Origin"),
)
"""Templates in the order of the page, and what the page's table of contents calls them."""
LENGTHS = ("words", "tokens", "chars", "lines")


@dataclass(frozen=True)
class Material:
    """What a page is made of."""

    run: str
    recipe: Recipe
    stats: store.Record
    inputs: list[dict[str, Any]]
    versions: dict[str, str]
    examples: store.Record = field(default_factory=dict)
    listed: list[shown.Line] = field(default_factory=list)
    holders: shown.Line = field(
        default_factory=lambda: {"documents": [], "groups": {}, "prices": []}
    )
    earlier: list[shown.Line] = field(default_factory=list)
    probe: store.Record = field(default_factory=dict)
    """A probe's rows (of equal keys), its limits and whether its models can copy; empty: none."""


def material(folder: Path, recipe: Recipe, stats: store.Record) -> Material:
    """What a run's folder holds for its page.

    Raises InputError where it has not all that the page shows: another version wrote it.
    """
    for name in ("examples.json", "inputs.json", "identity.json"):
        if not (folder / name).exists():
            raise InputError(
                f"{folder / name} is missing: an older version of cleanpipe wrote this run, or "
                "somebody deleted it. Its own report.html is what can be had; for this version's "
                "page run the recipe again"
            )
    examples = store.read_json(folder / "examples.json")
    return Material(
        run=folder.name,
        recipe=recipe,
        stats=stats,
        inputs=store.read_json(folder / "inputs.json"),
        versions=store.read_json(folder / "identity.json")["versions"],
        examples=examples,
        listed=shown.listed(folder, recipe.seed or 0, examples),
        holders=shown.holders(folder),
        earlier=shown.earlier(folder),
    )


def write(folder: Path, recipe: Recipe, stats: store.Record) -> Path:
    """Write report.html and report.md into a run's folder; gives the page's path."""
    known = material(folder, recipe, stats)
    page, short = render("report.html.jinja", known), render("report.md.jinja", known)
    store.write_file(folder / "report.md", lambda file: file.write(short.encode()))
    store.write_file(folder / "report.html", lambda file: file.write(page.encode()))
    return folder / "report.html"


def render(template: str, known: Material) -> str:
    """Fill a template of this folder."""
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in ("style.css", "find.js"))
    known = known if known.examples.get("samples") == "full" else _without_addresses(known)
    stats = known.stats
    environment = _templates(is_html=template.startswith("report.html"))
    return environment.get_template(template).render(
        run=known.run,
        stats=stats,
        shown=known.examples,
        documents=stats["documents"],
        attrition=attrition(stats),
        share=share,
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
        sections=SECTIONS,
        in_short=findings.in_short(stats, known.earlier),
        funnel=findings.funnel(stats),
        listed=known.listed,
        holders=known.holders,
        earlier=known.earlier,
        sparklines=trend.sparklines(known.run, stats, known.earlier),
        moved=trend.moved(stats),
        probe=known.probe,
        bars_say=BARS_SAY,
        histograms=_histograms(stats, STABILITY),
        lengths=_histograms(stats, LENGTHS),
        cut_told=cut_told(stats),
        rules=rules.cards(stats),
        pairs=rules.largest_pairs(stats),
        overlaps=pictures.overlaps(stats["rules"], stats["rule_pairs"]),
        inputs=known.inputs,
        versions=known.versions,
        recipe=known.recipe.dump(),
        notices=(*stats["alerts"], *known.recipe.notices),
    )


def _without_addresses(known: Material) -> Material:
    """The same material with masks in what documents and sources are called."""
    mask = NameMask()
    named = ("stats", "examples", "listed", "holders", "earlier", "inputs")
    return replace(known, **{name: _masked_names(getattr(known, name), mask) for name in named})


def _masked_names(value: Any, mask: NameMask) -> Any:
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        return {mask(name): _masked_names(one, mask) for name, one in value.items()}
    return [_masked_names(one, mask) for one in value] if isinstance(value, list | tuple) else value


def fill(template: str, **values: Any) -> str:
    """Fill a template that has no script; the style is at hand, with its hash."""
    style = (HERE / "style.css").read_text(encoding="utf-8")
    given = {"style": style, "style_hash": _hash(style), "share": share, **values}
    return _templates(is_html=True).get_template(template).render(given)


def _histograms(stats: store.Record, names: tuple[str, ...]) -> list[dict[str, Any]]:
    known = stats["histograms"]
    return [
        {"name": name, **pictures.histogram(name, known[name])}
        for name in names
        if name in known and known[name]["raw"]["count"]
    ]


def _hash(text: str) -> str:
    """How a Content-Security-Policy names a script or a style."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@functools.cache  # with its templates, which take longer to compile than a small report to fill
def _templates(*, is_html: bool) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=jinja2.select_autoescape(default=is_html),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"megabytes": megabytes, "number": number, "cell": cell}
    return environment


def number(value: float | None) -> str:
    """A number for people; a dash where there is none."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value == int(value) else f"{value:.4g}"


def cell(value: object) -> str:
    """A text that cannot end a cell of a Markdown table or begin markup in it."""
    return "".join(char if char.isalnum() or char in " _.:-" else " " for char in str(value))

"""The report: one offline page about a run, and its short form in Markdown.

Everything on the page comes from stats.json. Text is escaped by the template engine, pictures
are SVG with numbers for attributes, there is no script, and the page may not load anything.
"""

import base64
import functools
import hashlib
from pathlib import Path
from typing import Any

import jinja2

from cleanpipe import store
from cleanpipe.recipe import Recipe
from cleanpipe.report import pictures, rules
from cleanpipe.stats import STABILITY
from cleanpipe.summary import attrition, cut_told, megabytes, share

HERE = Path(__file__).parent
BARS_SAY = (
    "The bars count documents, their heights go by the square root so that rare ones can be seen: "
    "grey what was read, coloured what was kept."
)


def write(folder: Path, recipe: Recipe, stats: store.Record) -> Path:
    """Write report.html and report.md into a run's folder; gives the page's path."""
    inputs = store.read_json(folder / "inputs.json")
    versions = store.read_json(folder / "identity.json")["versions"]
    shown = store.read_json(folder / "examples.json")
    page = render("report.html.jinja", folder.name, recipe, stats, inputs, versions, shown)
    short = render("report.md.jinja", folder.name, recipe, stats, inputs, versions, shown)
    store.write_file(folder / "report.md", lambda file: file.write(short.encode()))
    store.write_file(folder / "report.html", lambda file: file.write(page.encode()))
    return folder / "report.html"


def render(
    template: str,
    run: str,
    recipe: Recipe,
    stats: store.Record,
    inputs: list[dict[str, Any]],
    versions: dict[str, str],
    shown: store.Record,
) -> str:
    """Fill a template of this folder."""
    style = (HERE / "style.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    histograms = [
        {"name": name, **pictures.histogram(name, stats["histograms"][name])}
        for name in STABILITY
        if name in stats["histograms"]
    ]
    environment = _templates(is_html=template.startswith("report.html"))
    return environment.get_template(template).render(
        run=run,
        stats=stats,
        shown=shown,
        documents=stats["documents"],
        attrition=attrition(stats),
        share=share,
        style=style,
        style_hash=digest,
        bars_say=BARS_SAY,
        histograms=histograms,
        cut_told=cut_told(stats),
        rules=rules.cards(stats),
        pairs=rules.largest_pairs(stats),
        overlaps=pictures.overlaps(stats["rules"], stats["rule_pairs"]),
        inputs=inputs,
        versions=versions,
        recipe=recipe.dump(),
        notices=(*stats["alerts"], *recipe.notices),
    )


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

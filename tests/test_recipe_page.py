"""docs/recipe.md: up to date, whole, and its examples work."""

import importlib.util
import re

import pytest
from conftest import ROOT

from cleanpipe.recipes.recipe import Recipe
from cleanpipe.recipes.recipe_errors import options
from cleanpipe.recipes.recipe_file import load
from cleanpipe.rules.urls import Urls

PAGE = ROOT / "docs" / "recipe.md"
TEXT = PAGE.read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
ROWS = dict(re.findall(r"^\| `([\w.]+)` \| (.*) \|$", TEXT, re.MULTILINE))


def test_the_page_is_what_its_script_writes():
    """Whoever changes an option or its docstring writes the page again."""
    path = ROOT / "docs" / "make_recipe_page.py"
    spec = importlib.util.spec_from_file_location("make_recipe_page", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.page() == TEXT, "run: python docs/make_recipe_page.py"


@pytest.mark.parametrize("text", EXAMPLES)
def test_every_example_is_a_recipe(write, text):
    """Each loads, beside an input and an output where it names none."""
    paths = [name for name in ("input", "output") if not re.search(f"^{name}:", text, re.MULTILINE)]
    assert load(write("".join(f"{name}: here\n" for name in paths) + text))


def test_there_is_an_example_for_every_section():
    """A newcomer sees each of them written."""
    shown = "\n".join(EXAMPLES)
    for section in set(Recipe.model_fields) - {"version", "notices", "max_quarantined"}:
        assert re.search(f"^{section}:", shown, re.MULTILINE), section


def test_every_option_has_its_row_and_its_meaning():
    """All that the schema allows, by its dotted name: what it takes, default, meaning."""
    schema = Recipe.model_json_schema()
    ways = [["input"], ["normalize"], ["normalize", "lines"], ["measure"], ["dedup"]]
    ways += [["dedup", "near"], ["balance"], ["augment"], ["output"]]
    for way in ways:
        for name in options(schema, way):
            assert ".".join([*way, name]) in ROWS, name
    for name in Urls.model_fields:
        assert f"filter.urls.{name}" in ROWS
    for row in ROWS.values():
        assert all(cell.strip() for cell in re.split(r"(?<!\\)\|", row)), row


def test_every_link_within_the_page_goes_somewhere():
    """As GitHub makes anchors of headings; files beside it are there."""
    headings = re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in headings}
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        if target.startswith("#"):
            assert target[1:] in anchors, target
        else:
            assert (PAGE.parent / target).exists(), target

"""YAML as recipes have it: what is refused where it stands, and what its scalars mean."""

import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleanpipe.errors import RecipeError
from cleanpipe.recipes.recipe import Recipe
from cleanpipe.recipes.recipe_file import load
from cleanpipe.recipes.recipe_tree import MAX_BYTES, MAX_DEPTH, MAX_NODES, read

PATHS = "input: {path: in}\noutput: {path: out}\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"# nothing\n", "is empty"),
        (b"- a\n", "1:1: a recipe is a mapping"),
        (b"seed: \xff\n", "byte 6 is not UTF-8"),
        (b"%YAML 1.1\n---\nseed: 1\n", "2:1: a % directive is not allowed"),
        (b"# " + b"x" * MAX_BYTES, "over 1,000,000 bytes"),
        (b"[" * 100_000, f"nested more than {MAX_DEPTH} deep"),
        (b"{a: " * 100_000, f"nested more than {MAX_DEPTH} deep"),
        (b"a: [" + b"1," * (MAX_NODES + 1), "more than 100,000 values"),
        (b"a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "1:4: &a: anchors"),
        (b'seed: "\\ud800"\n', "seed: expected a whole number"),
    ],
)
def test_hostile_files_are_refused_quickly(write, data, message):
    """Bombs of aliases, nesting and size cost neither memory nor minutes."""
    Path(write("")).write_bytes(data)
    begun = time.monotonic()
    with pytest.raises(RecipeError, match=re.escape(message)):
        load("recipe.yaml")
    assert time.monotonic() - begun < 30


def test_a_missing_file_and_a_folder_are_recipe_errors(tmp_path):
    """No traceback for a wrong path."""
    with pytest.raises(RecipeError, match=r"nowhere\.yaml: no such file"):
        load(tmp_path / "nowhere.yaml")
    with pytest.raises(RecipeError, match="cannot be read"):
        load(tmp_path)


def test_numbers_and_words_are_those_of_yaml_1_2(write):
    """100_000 is a number, 012 is twelve, 1e-3 a float, and `no` a language."""
    text = "filter: {words: {low: 012, high: 100_000, by_lang: {no: {low: 5}}}}\n"
    recipe = load(write(PATHS + text + "max_quarantined: 1e-3\n"))
    rule = recipe.filter.rules["words"]
    assert (rule.low, rule.high, rule.by_lang["no"].low) == (12, 100_000, 5)
    assert recipe.max_quarantined == 0.001


words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)


@given(
    words, words, st.sampled_from(["no", "012", "1e3", "null", "~", "- a", "a: b", "#x", "2024"])
)
def test_any_string_survives_the_way_back(source, column, tricky):
    """Strings that look like numbers, nulls or structure stay strings in the resolved YAML."""
    recipe = Recipe(
        input={"path": f"/in/{source}", "source": tricky, "text": column},
        output={"path": "/out"},
        filter={"words": {"low": 1, "by_lang": {tricky: {"high": 9}}}},
    )
    tree = read(recipe.dump(), "again")
    assert Recipe.model_validate(tree.plain(), strict=True) == recipe

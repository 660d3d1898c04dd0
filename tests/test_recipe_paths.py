"""Recipes whose input or output is a path alone."""

import re

import pytest

from cleanpipe.errors import RecipeError
from cleanpipe.recipes.recipe import Recipe
from cleanpipe.recipes.recipe_file import load


@pytest.mark.parametrize(
    "text",
    [
        "input: in\noutput: out",
        "input: [in]\noutput: out",
        "input: {path: in}\noutput: {path: out}",
        "input: [{path: in}]\noutput: {path: out}",
    ],
)
def test_a_path_alone_is_a_mapping_with_nothing_else(write, tmp_path, text):
    """Four ways to write one recipe; paths go from its folder, and overrides find the options."""
    recipe = load(write(text), {"input.text": "body", "output.format": "jsonl"})
    assert recipe == load(
        write("input: {path: in, text: body}\noutput: {path: out, format: jsonl}")
    )
    assert recipe.input[0].path == str(tmp_path / "in")
    assert load(write(text), input="a", output="b").input[0].path == str(tmp_path / "a")


def test_paths_and_mappings_may_stand_in_one_list(write, tmp_path):
    """Each entry by itself; from the command line, too."""
    recipe = load(write("input: [a, {path: b, source: b}]\noutput: out"))
    assert [one.path for one in recipe.input] == [str(tmp_path / name) for name in "ab"]
    recipe = load(write("output: out"), {"input": "[a, b]", "output": "c"})
    assert [one.path for one in recipe.input] == [str(tmp_path / name) for name in "ab"]
    assert recipe.output.path == str(tmp_path / "c")


def test_python_takes_a_path_alone_too():
    """As in files."""
    recipe = Recipe(input=["a", {"path": "b"}], output="c")
    assert recipe == Recipe(input=({"path": "a"}, {"path": "b"}), output={"path": "c"})
    assert Recipe(input="a", output="c").input[0].path == "a"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("input: 3\noutput: out", "recipe.yaml:1:8: input: expected a path, or a mapping"),
        ("input: [a, 3]\noutput: out", "recipe.yaml:1:12: input.1: expected a path, or a mapping"),
        ("input: a\noutput: 3", "recipe.yaml:2:9: output: expected a path, or a mapping"),
        ("input: ''\noutput: out", "recipe.yaml:1:8: input.path: expected text that is not empty"),
        ("input: a\noutput: ''", "recipe.yaml:2:9: output.path: expected text that is not empty"),
    ],
)
def test_what_is_no_path_is_told_at_its_place(write, text, message):
    """File, line and column, and what is expected."""
    with pytest.raises(RecipeError, match=f"^{re.escape(message)}"):
        load(write(text))


def test_the_schema_takes_a_path_alone():
    """Editors do not mark it."""
    validator = pytest.importorskip("jsonschema").Draft202012Validator(Recipe.model_json_schema())
    for fine in ({"input": "a", "output": "b"}, {"input": ["a", {"path": "b"}]}):
        assert validator.is_valid(fine)
    for wrong in ({"input": 3}, {"input": ""}, {"output": ["b"]}, {"input": []}):
        assert not validator.is_valid(wrong)

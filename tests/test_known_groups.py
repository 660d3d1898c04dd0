"""Weights of groups that cannot be are refused when the recipe is read, with the name meant."""

import pytest

from cleanpipe.errors import RecipeError
from cleanpipe.recipes.recipe_file import load

TWO = [{"path": "a.jsonl", "source": "news"}, {"path": "b.jsonl", "source": "forum"}]


def recipe(write_recipe, weights, **sections):
    by = sections.pop("by", "source")
    buckets = sections.pop("buckets", {})
    balance = {"by": by, "strategy": "explicit", "weights": weights, "buckets": buckets}
    return load(write_recipe(**{"input": TWO, "balance": balance, **sections}))


@pytest.mark.parametrize(
    ("weights", "sections", "says"),
    [
        ({"news": 0.5, "forums": 0.5}, {}, r"'forums': no document can have source.*forum"),
        ({"en": 0.5, "eng": 0.5}, {"by": "lang"}, r"'eng': no document can have lang 'eng'"),
        (
            {"words <100": 0.5, "words >100": 0.5},
            {"by": "words", "buckets": {"words": [100]}},
            r"'words >100': .*did you mean 'words >=100'|'words >100': .*words <100, words >=100",
        ),
        ({"en / news": 0.5, "en / forums": 0.5}, {"by": ["lang", "source"]}, r"source 'forums'"),
        ({"en": 1.0}, {"by": ["lang", "source"]}, r"'en' names 1 of 2 columns: expected lang / so"),
    ],
)
def test_a_group_that_cannot_be_is_refused_at_its_place(write_recipe, weights, sections, says):
    """With file and line, before any document is read: there is none."""
    with pytest.raises(RecipeError, match=says) as refused:
        recipe(write_recipe, weights, **sections)
    assert "recipe.yaml:1:" in str(refused.value)


@pytest.mark.parametrize(
    ("weights", "sections"),
    [
        ({"news": 0.5, "forum": 0.5}, {}),
        ({"en": 0.5, "und": 0.5}, {"by": "lang"}),
        ({"xx": 1.0}, {"by": "lang", "measure": {"language": False}}),
        ({"anything": 1.0}, {"by": "topic"}),
        ({"anything": 1.0}, {"input": [{"path": "a.jsonl"}, TWO[1]]}),
        ({"words <100": 0.5, "null": 0.5}, {"by": "words", "buckets": {"words": [100]}}),
        ({"en / news": 0.5, "de / forum": 0.5}, {"by": ["lang", "source"]}),
    ],
)
def test_a_group_that_may_be_is_left_to_the_documents(write_recipe, weights, sections):
    """What the recipe cannot know is not refused early."""
    assert recipe(write_recipe, weights, **sections).balance.weights == weights

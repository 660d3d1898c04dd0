"""Rules for languages that no document will be in, by the labels of the recipe's own model."""

import orjson
import pytest
from conftest import InProcess
from fasttext_file import write_model

from cleanpipe.input.intake import find_shards
from cleanpipe.planning.plan import Sampled
from cleanpipe.recipes.recipe_file import load
from cleanpipe.run import Work, all_steps

PATHS = "input: in\noutput: out\n"
OWN = PATHS + "measure: {language: {model: mine.bin}}\n"  # the rules below stand in line 4


@pytest.fixture
def model(tmp_path):
    """A model of two languages, beside the recipe."""
    return write_model(tmp_path / "mine.bin", {"english": ["the", "and"], "suomi": ["ja", "on"]})


@pytest.fixture
def given(write, model):
    """A function that loads a recipe and gives its notices."""
    assert model.exists()
    return lambda text, **options: load(write(text), **options).notices


def test_a_language_that_the_model_has_not_is_told_with_place_and_nearest(given):
    """Bounds for it judge nothing, in silence, wherever they are written."""
    (told,) = given(OWN + "filter: {words: {low: 1, by_lang: {soumi: {low: 3}}}}")
    assert told.startswith("filter.words.by_lang in recipe.yaml:4 names soumi, and ")
    assert told.endswith(
        "mine.bin gives no such language: the rule judges no document by that; did you mean "
        "'suomi'?"
    )
    (told,) = given(OWN + "filter: {stop_words: {low: 2, langs: [en, fi]}}")
    assert "names en, fi, and" in told
    assert told.endswith("the rule applies to no document")
    (told,) = given(OWN + "filter: {stop_words: {low: 2, langs: [english, finn]}}")
    assert "names finn, and" in told
    assert told.endswith("the rule applies to none of theirs")
    (told,) = given(OWN, overrides={"filter.words": "{by_lang: {fi: {low: 3}}}"})
    assert told.startswith("filter.words.by_lang in --set filter.words=")


def test_the_models_labels_and_und_are_languages(given):
    """Nothing is told of what may come, nor where nobody names a language, nor of what is off."""
    rules = "{words: {low: 1, by_lang: {english: {low: 3}, und: {low: 9}, xx: false}}}"
    assert given(f"{OWN}filter: {rules}") == ()
    assert (
        given(f"{OWN}filter: {{words: {{low: 1}}, stop_words: {{low: 1, langs: [suomi]}}}}") == ()
    )
    assert given(f"{PATHS}measure: false\nfilter: {{where: 'true'}}") == ()


def test_lid_176_is_held_to_its_labels_too(given):
    """The model that comes with the package is one as well."""
    (told,) = given(PATHS + "filter: {words: {low: 1, by_lang: {jp: {low: 3}, fi: {low: 1}}}}")
    assert "names jp, and lid.176 gives no such language" in told
    both = "{words: {low: 1, langs: [en, eng_Latn]}}"  # as the pages about presets advise
    assert given(f"{PATHS}filter: {both}") == ()
    assert given(OWN + f"filter: {both}") != ()


def test_presets_are_told_only_where_none_of_their_languages_may_come(given):
    """They name languages as several models do; one sentence tells of all their rules."""
    assert given(PATHS + "extends: [gopher]") == ()
    (told,) = given(OWN + "extends: [gopher]")
    assert "gives none of the languages of " in told
    assert "filter.stop_words.langs" in told
    assert told.endswith("Write your own for its labels, such as english, suomi")


def test_a_model_that_is_not_there_is_for_the_run_to_refuse(given, model):
    """A recipe can be loaded without its model: nothing is told of its languages."""
    model.unlink()
    assert given(OWN + "filter: {words: {low: 1, by_lang: {fi: {low: 3}}}}") == ()


def test_run_plan_and_report_tell_it(model, write, tmp_path):
    """As any notice: in the run's recipe and report, and first in a plan; never twice."""
    (tmp_path / "in").mkdir()
    text = orjson.dumps({"id": "a", "text": "the cat and the dog"})
    (tmp_path / "in" / "a.jsonl").write_bytes(text)
    assert model.exists()
    recipe = load(write(OWN + "filter: {words: {low: 1, by_lang: {fi: {low: 3}}}}"))
    (told,) = recipe.notices
    done = all_steps(Work(recipe, InProcess(), lambda *_: None))
    assert "names fi, and" in done.report.read_text(encoding="utf-8")
    assert load(done.folder / "recipe.yaml").notices == (told,)
    plans = recipe.output.model_copy(update={"path": str(tmp_path / "plans")})
    inside = recipe.model_copy(update={"seed": 0, "output": plans})
    work = Sampled(inside, InProcess(), lambda *_: None, find_shards(inside), 0.5, 0)
    assert work.foretold(recipe)["notices"][0] == told

"""Presets: each cites its sources, extends in order, and says what overriding it leaves."""

import json
import re
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from cleanpipe.errors import RecipeError
from cleanpipe.measures.measure import measures
from cleanpipe.measures.measuring import Measure
from cleanpipe.presets import files, load
from cleanpipe.recipes.recipe_file import load as load_recipe

PATHS = "input: {path: a}\noutput: {path: b}\n"
ALL = sorted(files())
CASES = json.loads((Path(__file__).parent / "cases" / "presets.json").read_text(encoding="utf-8"))
PLACE = re.compile(
    r"(?<!\w)([Tt]able|appendix|section|[Ss]ection|figure|A\.\d|[\w*-]+\.(?:py|ya?ml)|[Oo]urs)\b"
)


@pytest.mark.parametrize("name", ALL)
def test_presets_are_valid_and_choose_no_paths(name, write):
    """A preset is rules under a head that says what it is; nothing in it must be undone."""
    preset = load(name, files()[name])
    assert preset.about
    assert preset.source
    assert set(preset.tree.plain()) <= {"version", "extends", "normalize", "filter"}
    assert load_recipe(write(f"extends: {name}\n{PATHS}")).filter.rules


def paragraphs(text):
    """The blocks of a preset's rules, each a list of lines; a blank line ends one."""
    body = text[re.search(r"^(filter|normalize):$", text, re.MULTILINE).end() :]
    blocks = [block.strip("\n").split("\n") for block in re.split(r"\n\s*\n", body)]
    return [
        [line for line in block if line.strip() and not re.match(r"\S+:$", line)]
        for block in blocks
    ]


@pytest.mark.parametrize("name", ALL)
def test_every_bound_has_its_source_above_it(name):
    """Each group of rules begins with a comment that names a table, a section, a file, or ours."""
    for lines in paragraphs(files()[name].read_text(encoding="utf-8")):
        comment = " ".join(line for line in lines if line.strip().startswith("#"))
        assert lines[0].strip().startswith("#"), lines[0]
        assert PLACE.search(comment), comment
        if any(re.match(r"  \w+: \{|    (low|high): ", line) for line in lines):
            assert re.search(r"\d|one|no ", comment), comment  # the number, as its source has it


def test_a_preset_without_a_head_is_refused(tmp_path):
    """Who made it and where the numbers are from is not optional."""
    broken = tmp_path / "broken.yaml"
    broken.write_text("about: a\nfilter: {words: {low: 1}}\n", encoding="utf-8")
    with pytest.raises(RecipeError, match=r"preset broken:1:1: needs source"):
        load("broken", broken)


def test_presets_of_presets_lie_below_them(write, tmp_path, monkeypatch):
    """A preset may extend others: it wins over them, and the recipe over all."""
    texts = {
        "low": "filter: {words: {low: 1, high: 9}, chars: {low: 1}}",
        "middle": "extends: low\nfilter: {words: {low: 2}}",
        "top": "extends: [middle]\nfilter: {lines: {low: 3}}",
    }
    for name, text in texts.items():
        head = "about: a\nsource: b\n"
        (tmp_path / f"{name}.yaml").write_text(head + text, encoding="utf-8")
    monkeypatch.setattr(
        "cleanpipe.presets.files", lambda: {n: tmp_path / f"{n}.yaml" for n in texts}
    )
    rules = load_recipe(write(f"extends: top\n{PATHS}filter: {{chars: {{low: 7}}}}\n")).filter.rules
    assert list(rules) == ["words", "chars", "lines"]
    assert (rules["words"].low, rules["words"].high) == (2, 9)
    assert (rules["chars"].low, rules["lines"].low) == (7, 3)


def test_bounds_by_language_that_an_override_leaves_are_told(write):
    """They stay, since a bound for all would drop all Chinese; the recipe's notices name them."""
    recipe = load_recipe(
        write(f"extends: gopher\n{PATHS}filter: {{mean_word_length: {{low: 4}}}}\n")
    )
    rule = recipe.filter.rules["mean_word_length"]
    assert (rule.low, rule.by_lang["zh"].low, rule.by_lang["ko"].low) == (4, 1, 2)
    (notice,) = recipe.notices
    assert notice.startswith(
        "filter.mean_word_length.low is 4 in recipe.yaml:4, but some languages"
    )
    assert "zh, cmn_Hani, yue" in notice
    assert "ko, kor_Hang, bo, bod_Tibt 2" in notice
    assert "mal_Mlym" not in notice  # it has a bound on the other side only
    recipe = load_recipe(write(f"extends: gopher\n{PATHS}"), {"filter.words.high": "9_000"})
    assert recipe.notices[0].startswith(
        "filter.words.high is 9000 in --set filter.words.high=9_000"
    )


@pytest.mark.parametrize(
    "bounds",
    [
        "{low: 4, by_lang: false}",
        "{low: 4, by_lang: null}",
        "{low: 3, by_lang: {zh: {low: 2}}}",
        "{by_lang: {zh: false}}",
        "false",
    ],
)
def test_what_the_user_has_decided_is_not_told(write, bounds):
    """No notice where the preset's bounds by language are gone, or only these are changed."""
    text = f"extends: gopher\n{PATHS}filter: {{mean_word_length: {bounds}}}\n"
    recipe = load_recipe(write(text))
    rule = recipe.filter.rules.get("mean_word_length")
    if "low: 3" in bounds:  # the other languages' are the preset's still
        assert "zh" not in recipe.notices[0]
        assert rule.by_lang["zh"].low == 2
    else:
        assert recipe.notices == ()
        assert rule is None or "zh" not in rule.by_lang


def test_a_notice_survives_the_way_through_a_run_s_recipe(write):
    """What is written down for a run says it again, once; it decides nothing."""
    recipe = load_recipe(write(f"extends: gopher\n{PATHS}filter: {{words: {{low: 4}}}}\n"))
    again = load_recipe(write(recipe.dump()))
    assert again == recipe
    assert again.notices == recipe.notices != ()
    assert "notices" not in recipe.identity()


@pytest.mark.parametrize("case", CASES, ids=[case["label"] for case in CASES])
def test_a_labelled_document_meets_its_rule(case, write):
    """The first rule of the preset that drops it, or none."""
    recipe = load_recipe(write(f"extends: {case['preset']}\n{PATHS}"))
    done = recipe.normalize.apply(pa.array(["\n".join(case["original"])], pa.large_string()))
    table = measures(done.texts, None, 0, Measure(language=False)).with_columns(
        lang=pl.lit(case["lang"]),
        lang_score=1.0,
        removed_word_frac=pl.Series(done.removed_word_frac),
    )
    rules = recipe.filter
    assert rules.verdicts(table, rules.failures(table))["rule"].to_list() == [case["expected"]]


@pytest.mark.parametrize("name", ALL)
def test_every_preset_has_cases_of_both_kinds(name):
    """Documents that it drops, and documents that it must leave alone."""
    assert {case["expected"] is None for case in CASES if case["preset"] == name} == {True, False}


def test_bounds_of_fineweb2_stand_under_both_names_of_a_language(write):
    """42 languages, the same bounds for lid.176 and GlotLID; minimum scores for GlotLID alone."""
    rules = load_recipe(write(f"extends: fineweb2\n{PATHS}")).filter.rules
    scores = rules["lang_score"].by_lang
    assert len(scores) == 42
    for name, rule in rules.items():
        labels = [lang for lang in rule.by_lang if "_" in lang]
        others = [lang for lang in rule.by_lang if "_" not in lang]
        assert set(labels) <= set(scores)
        if name == "lang_score":
            assert others == []
            continue
        pairs = list(zip(rule.by_lang, list(rule.by_lang)[1:], strict=False))[::2]
        assert [pair[0] for pair in pairs] == others
        assert all(rule.by_lang[one] == rule.by_lang[other] for one, other in pairs)
    assert rules["dup_line_frac"].by_lang["fr"].high == 0.264  # configs/fra_Latn.yml
    assert rules["top_3gram_char_frac"].by_lang["cmn_Hani"].high == 0.201  # configs/cmn_Hani.yml
    assert rules["dup_line_frac"].high is None  # English and all others pass


def examples():
    docs = Path(__file__).parents[1] / "docs"
    pages = [(docs / name).read_text(encoding="utf-8") for name in ("presets.md", "url-rules.md")]
    return [block for page in pages for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]


@pytest.mark.parametrize("text", examples())
def test_the_documentation_s_recipes_are_valid(text, write):
    """Each example of the pages about presets and rules over URLs loads."""
    assert load_recipe(write(PATHS + text)).filter.rules or "urls" in text


def test_bounds_for_another_identification_are_told(write, tmp_path):
    """Where lid.176 is used; not where the model or the column is the user's own."""
    text = f"extends: [fineweb, fineweb2]\n{PATHS}"
    (notice,) = load_recipe(write(text)).notices
    assert notice.startswith("preset fineweb2: its bounds by language were published for GlotLID, ")
    (tmp_path / "glotlid.bin").write_bytes(b"")
    given = "measure: {language: {model: glotlid.bin}}\n"
    assert load_recipe(write(text + given)).notices == ()
    assert load_recipe(write(text + "measure: false\n")).notices == ()
    assert load_recipe(write(f"extends: fineweb\n{PATHS}")).notices == ()


def test_english_keeps_fineweb_s_bounds_under_fineweb2(write):
    """The later preset gives bounds to its languages and takes none from others."""
    rules = load_recipe(write(f"extends: [fineweb, fineweb2]\n{PATHS}")).filter.rules
    assert (rules["line_punct_frac"].low, rules["line_punct_frac"].by_lang["fr"].low) == (0.12, 0.1)
    assert rules["line_punct_frac"].by_lang["th"].low == 0
    assert "en" not in rules["line_punct_frac"].by_lang
    advice = "filter: {short_line_frac: {langs: [en, eng_Latn], by_lang: false}}"
    assert advice in files()["fineweb2"].read_text(encoding="utf-8").replace("\n# ", " ")
    recipe = load_recipe(write(f"extends: [fineweb, fineweb2]\n{PATHS}{advice}\n"))
    assert recipe.filter.rules["short_line_frac"].langs == ("en", "eng_Latn")

"""Recipes: what is refused and how it is told, presets below, overrides above, and the way back."""

import re
from pathlib import Path

import orjson
import polars as pl
import pytest
from pydantic import ByteSize

from cleanpipe.errors import RecipeError
from cleanpipe.presets import HEAD, files
from cleanpipe.recipes.recipe import OFF, Recipe
from cleanpipe.recipes.recipe_errors import MOST
from cleanpipe.recipes.recipe_file import load
from cleanpipe.recipes.recipe_tree import read_file
from cleanpipe.rules.filter import MEASURES

CONFIGS = Path(__file__).parents[1] / "configs"
PATHS = "input: {path: in}\noutput: {path: out}\n"  # the recipes below begin in line 3


# recipe from line 3 on, where the message points, what it says
WRONG = [
    ("filter:\n  words: {lwo: 3}", "4:11", "words.lwo: no such option; did you mean 'low'?"),
    (
        "filter: {words: {hihg: 3}}",
        "3:18",
        "filter.words.hihg: no such option; did you mean 'high'?",
    ),
    ("dedpu: {}", "3:1", "dedpu: no such option; did you mean 'dedup'?"),
    (
        "dedup: {near: {ngrams: 5}}",
        "3:16",
        "near.ngrams: no such option; did you mean 'ngram'?",
    ),
    ("extend: gopher", "3:1", "extend: no such option; did you mean 'extends'?"),
    ("extends: [gohper]", "3:11", "extends: no such preset 'gohper'; did you mean 'gopher'?"),
    ("extends: 3", "3:10", "extends: no such preset 3; these are: "),
    ("filter: {words: {low: 9, high: 3}}", "3:17", "filter.words: low 9 is above high 3"),
    (
        "filter: {words: {low: .nan}}",
        "3:23",
        "low: expected a finite number, found nan",
    ),
    ("filter: {words: {low: -.inf}}", "3:23", "filter.words.low: expected a finite number"),
    ("filter: {words: {low: 1e999}}", "3:23", "filter.words.low: expected a finite number"),
    ("filter: {words: {low: '3'}}", "3:23", "filter.words.low: expected a number, found '3'"),
    ("filter: {words: {low: true}}", "3:23", "filter.words.low: expected a number, found true"),
    ("filter: {words: {low: [3]}}", "3:23", "filter.words.low: expected a number, found a list"),
    ("filter: {words: {}}", "3:17", "filter.words: has no bound"),
    ("filter: {words: 3}", "3:17", "filter.words: expected a mapping of options, found 3"),
    ("filter: {words: {low: 1, langs: en}}", "3:33", "filter.words.langs: expected a list"),
    ("filter: {words: {by_lang: {no: {low: x}}}}", "3:38", "filter.words.by_lang.no.low: "),
    ("filter: {lang: {low: 1}}", "3:10", "filter.lang: is a word, not a number"),
    ("filter: {where: 'a; b'}", "3:17", "filter.where: '; b' is not understood"),
    ("dedup: {near: {threshold: 1.5}}", "3:27", "dedup.near.threshold: 1.5 is out of range"),
    ("balance: {}", "3:10", "balance.by: is missing, and needed"),
    ("balance: {by: lang, strategy: unimx}", "3:31", "did you mean 'unimax'?"),
    ("normalize: {fixes: [nfcc]}", "3:21", "normalize.fixes.0: expected 'encoding', "),
    (
        "normalize: {fixes: nfc}",
        "3:20",
        "fixes: expected a list, such as [a, b], found 'nfc'",
    ),
    ("normalize: {fixes: [+htlm]}", "3:20", "there is no fix 'htlm'; did you mean 'html'?"),
    ("normalize: {pii: {emial: x}}", "3:19", "no such option; did you mean 'email'?"),
    ("normalize: {pii: {email: a@b.c}}", "3:18", "email: the placeholder 'a@b.c' is, or could"),
    ("normalize: {urls: http://x}", "3:19", "normalize.urls: the placeholder 'http://x' could"),
    ("normalize: {unbroken_runs: {longer_than: 3}}", "3:42", "greater than or equal to 10"),
    ("measure: {language: yes}", "3:21", "measure.language: expected true or false, found 'yes'"),
    ("seed: -1", "3:7", "seed: expected greater than or equal to 0, found -1"),
    ("seed: 18446744073709551616", "3:7", "seed: expected less than or equal to 1844"),
    ("seed: 3.0", "3:7", "seed: expected a whole number, found 3.0"),
    ("seed: " + "9" * 5000, "3:7", "is no number that fits"),
    ("version: 2", "3:10", "version: expected 1, found 2"),
    ("max_quarantined: 1.5", "3:18", "max_quarantined: expected less than or equal to 1"),
    ("order: [balance, filter, dedup]", "3:8", "order: expected [filter, dedup, balance] or "),
    ("order: [filter, dedup, filter]", "3:8", "order: expected [filter, dedup, balance] or "),
    ("order: [filter]", "3:8", "order: expected [filter, dedup, balance] or "),
    ("augment: true", "3:10", "augment: expected a mapping of options, found true"),
    ("filter:", "3:1", "filter is empty: give it a value, write null or false to switch it off"),
    ("measure: {language: }", "3:11", "language is empty"),
    ("seed: 1\nseed: 2", "4:1", "'seed' is given twice, first in line 3"),
    ("input: {path: b}", "3:1", "'input' is given twice, first in line 1"),
    ("seed: &x 1", "3:7", "&x: anchors and aliases are not allowed"),
    ("seed: *x", "3:7", "*x: anchors and aliases are not allowed"),
    ("seed: !!int 3", "3:7", "the tag tag:yaml.org,2002:int is not allowed"),
    ("seed: !!python/object/apply:os.system [ls]", "3:7", "is not allowed; write the plain value"),
    ("filter: !x {}", "3:9", "the tag !x is not allowed"),
    ("<<: {seed: 1}", "3:1", "'<<' is no name"),
    ("3: 4", "3:1", "'3' is no name; put it in quotes"),
    ("? [a]\n: 3", "3:3", "a list or mapping cannot be a name"),
    ("---\nseed: 1", "3:1", "a second document begins"),
    ("seed: [1", "4:1", "no YAML: expected ',' or ']'"),
    ("seed: \x1b[31m", "3:7", "no YAML: unacceptable character"),
    ("\tseed: 1", "3:1", "no YAML: "),
]


@pytest.mark.parametrize(("text", "at", "message"), WRONG, ids=[row[0][:40] for row in WRONG])
def test_an_error_tells_its_place_and_the_nearest_name(write, text, at, message):
    """file:line:column: path: what; below it the line, and a caret under the column."""
    with pytest.raises(RecipeError) as refused:
        load(write(PATHS + text + "\n"))
    first, source, caret = str(refused.value).split("\n")
    assert first.startswith(f"recipe.yaml:{at}: ")
    assert message in first
    line, column = map(int, at.split(":"))
    assert source.startswith(f"{line:>5} | ")
    if len(text) < 100:
        assert caret.index("^") == 7 + column
    assert str(refused.value).replace("\n", "").isprintable()


def test_all_errors_stand_in_one_message(write):
    """One run tells everything, in the order of the file, and no more than can be read."""
    with pytest.raises(RecipeError) as refused:
        load(write("seed: x\nfilter: {lang: {low: 3}, words: {low: x}}\nmeasur: {}\n"))
    found = re.findall(r"^recipe.yaml:[\d:]+: (.*?):", str(refused.value), re.MULTILINE)
    assert set(found) == {
        "input", "output",
        "seed", "filter.lang", "filter.words.low", "measur",
    }  # fmt: skip
    many = "\n".join(f"x{i}: 1" for i in range(50))
    with pytest.raises(RecipeError, match=f"and {50 - MOST} more"):
        load(write(PATHS + many))


def test_only_paths_are_needed(write):
    """All else has defaults: repairs and language on, no rules, nothing dropped or copied."""
    recipe = load(write(PATHS))
    assert recipe.filter.rules == {}
    assert (recipe.dedup, recipe.balance, recipe.augment, recipe.seed) == (None,) * 4
    assert recipe.measure.language
    assert recipe.normalize.fixes
    assert recipe.order == ("filter", "dedup", "balance")
    assert recipe.output.shard_size == 256_000_000


def test_fixes_and_placeholders_can_be_set_on_the_command_line(write):
    """Signed names add and take away; a placeholder switches its fix on, false off again."""
    written = write("normalize: {pii: {email: '<E>', ip: '<I>'}, urls: ''}\n" + PATHS)
    given = {
        "normalize.fixes": "[+html, -spaces]",
        "normalize.pii.email": "<EMAIL>",
        "normalize.pii.ip": "false",
        "normalize.urls": "null",
        "normalize.unbroken_runs.longer_than": "500",
    }
    known = load(written, given).normalize
    assert "html" in known.fixes
    assert "spaces" not in known.fixes
    assert (known.pii.email, known.pii.ip, known.urls) == ("<EMAIL>", None, None)
    assert known.unbroken_runs.longer_than == 500
    assert load(written, {"normalize.pii": "false"}).normalize.pii is None


@pytest.mark.parametrize("off", ["false", "null", "~"])
def test_every_section_can_be_switched_off(write, off):
    """False or null in place of a section; normalize then repairs nothing."""
    recipe = load(write("extends: gopher\n" + PATHS + "".join(f"{name}: {off}\n" for name in OFF)))
    assert recipe.normalize.fixes == ()
    assert not recipe.measure.language
    assert recipe.filter.rules == {}
    assert (recipe.dedup, recipe.balance, recipe.augment) == (None,) * 3


def test_presets_lie_below_the_file_and_later_ones_win(write):
    """Mappings merge key by key; a rule of a preset keeps its place, and false takes it out."""
    text = """extends: [gopher, minimal]
filter:
  chars: {low: 7}
  mean_word_length: {high: 12, by_lang: {ja: {low: 2}}}
  stop_words: false
"""
    recipe = load(write(PATHS + text))
    rules = recipe.filter.rules
    assert (rules["words"].low, rules["words"].high) == (1, 100_000)  # minimal over gopher
    assert rules["words"].by_lang["th"].low == 200
    length = rules["mean_word_length"]
    assert (length.low, length.high) == (3, 12)
    assert (length.by_lang["ja"].low, length.by_lang["zh"].low) == (2, 1)
    assert list(rules)[:3] == ["words", "mean_word_length", "hash_word_ratio"]
    assert list(rules)[-1] == "chars"
    assert "stop_words" not in rules


def test_an_error_between_preset_and_file_points_at_the_file(write):
    """Bounds that only contradict each other once merged are told where the upper one stands."""
    with pytest.raises(RecipeError, match=r"recipe.yaml:4:17: filter.words: low 200000 is above"):
        load(write(PATHS + "extends: gopher\nfilter: {words: {low: 200_000}}\n"))


def test_an_error_in_a_preset_names_the_preset(write, tmp_path, monkeypatch):
    """The place is the preset's."""
    broken = tmp_path / "broken.yaml"
    broken.write_text("about: a\nsource: b\nfilter:\n  words: {lwo: 1}\n", encoding="utf-8")
    monkeypatch.setattr("cleanpipe.presets.files", lambda: {"broken": broken})
    with pytest.raises(RecipeError, match=r"preset broken:4:11: filter.words.lwo: no such option"):
        load(write(PATHS + "extends: broken\n"))


def test_overrides_are_yaml_and_stand_above_the_file(write):
    """Dotted paths reach into presets, sections that are off, lists; values are YAML."""
    name = write(PATHS + "extends: gopher\ndedup: false\nbalance: {by: lang}\n")
    recipe = load(
        name,
        {
            "filter.words.low": "40",
            "filter.words.by_lang.ja.low": "null",
            "filter.stop_words": "false",
            "filter.where": "words > 3 AND lang = 'en'",
            "dedup.near.keep": "[-chars, id]",
            "normalize.fixes": "[nfc, spaces]",
            "normalize.fixes.1": "newlines",
            "balance": "false",
            "output.shard_size": "1MB",
            "input.0.text": "body",
            "input.id": "key",
        },
    )
    words = recipe.filter.rules["words"]
    assert (words.low, words.high, words.by_lang["ja"].low) == (40, 100_000, None)
    assert "stop_words" not in recipe.filter.rules
    assert recipe.dedup.near.keep == ("-chars", "id")
    assert recipe.normalize.fixes == ("newlines", "nfc")
    assert recipe.balance is None
    assert recipe.output.shard_size == ByteSize(1_000_000)
    assert (recipe.input[0].text, recipe.input[0].id) == ("body", "key")


def test_an_override_can_choose_presets(write):
    """Extends is an option like any other."""
    assert load(write(PATHS), {"extends": "[minimal]"}).filter.rules["chars"].low == 1


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("filter.words.lwo", "3", "filter.words.lwo: no such option; did you mean 'low'?"),
        ("filter.words.low", "x", "filter.words.low: expected a number, found 'x'"),
        ("filter.words.low", "", "needs a value"),
        ("filter.words.low", "!!int 3", "the tag"),
        ("filter.words.low", "[", "no YAML"),
        ("filter..low", "3", "expected a path such as filter.words.low"),
        ("seed.x", "3", "'x' cannot be set below the value 1"),
        ("input.3.text", "x", "'3' is no entry of a list of 1"),
        ("extends", "gohper", "did you mean 'gopher'?"),
        ("dedup", "3", "dedup: expected a mapping of options, found 3"),
    ],
)
def test_an_error_in_an_override_names_the_override(write, key, value, message):
    """What was typed stands before what is wrong with it; there is no line to show."""
    with pytest.raises(RecipeError) as refused:
        load(write(PATHS + "seed: 1\n"), {key: value})
    assert str(refused.value).startswith(f"--set {key}={value}: ")
    assert message in str(refused.value)


def test_paths_go_from_where_they_are_written(tmp_path, monkeypatch):
    """From the recipe's folder in a recipe, from the current one on a command line."""
    (tmp_path / "configs").mkdir()
    (tmp_path / "here").mkdir()
    file = tmp_path / "configs" / "recipe.yaml"
    file.write_text("input: [{path: ../a}, {path: s3://bucket/b}]\noutput: {path: c}\n", "utf-8")
    monkeypatch.chdir(tmp_path / "here")
    recipe = load("../configs/recipe.yaml")
    assert [entry.path for entry in recipe.input] == [str(tmp_path / "a"), "s3://bucket/b"]
    assert recipe.output.path == str(tmp_path / "configs" / "c")
    recipe = load(file, {"input.1.path": "b", "output.path": "/abs"})
    assert recipe.input[1].path == str(tmp_path / "here" / "b")
    assert recipe.output.path == "/abs"
    assert load(file, output="o").output.path == str(tmp_path / "here" / "o")
    with pytest.raises(RecipeError, match=r"--input x: the recipe has 2 inputs"):
        load(file, input="x")


def test_the_command_line_can_give_both_paths(write, tmp_path):
    """--input and --output fill in for what the recipe leaves out, and replace what it has."""
    recipe = load(write("seed: 1\n"), input="a/*.parquet", output="b")
    assert recipe.input[0].path == str(tmp_path / "a" / "*.parquet")
    assert recipe.output.path == str(tmp_path / "b")
    recipe = load(write("input: {path: x, text: body}\noutput: {path: y}\n"), input="z")
    assert (recipe.input[0].path, recipe.input[0].text) == (str(tmp_path / "z"), "body")


@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("*.yaml")))
def test_shipped_recipes_are_valid_and_survive_the_way_back(name, tmp_path):
    """What a run writes down is the recipe it was given."""
    own = {} if name == "sample" else {"input": "in", "output": "out"}
    recipe = load(CONFIGS / f"{name}.yaml", **own)
    again = tmp_path / "again.yaml"
    again.write_text(recipe.dump(), encoding="utf-8")
    assert load(again) == recipe
    assert list(load(again).filter.rules) == list(recipe.filter.rules)
    recipe.check_columns({"lang": pl.String()})


def test_identity_leaves_out_where_the_output_goes(write):
    """The same recipe into another folder is the same recipe; another bound is not."""
    name = write(PATHS)
    assert load(name).identity() == load(name, output="elsewhere").identity()
    assert load(name).identity() != load(name, {"filter.words.low": "1"}).identity()


def test_decision_columns_are_what_no_measure_gives():
    """Columns for where, balance and keep; language too, where it is not measured."""
    sections = {
        "input": {"path": "in"},
        "output": {"path": "out"},
        "filter": {"words": {"low": 1, "langs": ["en"]}, "where": "year > 3 AND words > 2"},
        "dedup": {"near": {"keep": ["-popularity", "chars", "id"]}},
        "balance": {"by": "topic"},
    }
    assert Recipe(**sections).decision_columns() == ("year", "topic", "popularity")
    silent = Recipe(**sections, measure=False)
    assert silent.decision_columns() == ("lang", "year", "topic", "popularity")
    columns = {"year": pl.Int64(), "topic": pl.String(), "popularity": pl.Int64()}
    Recipe(**sections).check_columns(columns)
    silent.check_columns({**columns, "lang": pl.String()})
    with pytest.raises(RecipeError) as refused:
        silent.check_columns({"topics": pl.String()})
    assert str(refused.value).split("\n") == [
        (
            "filter.words: applies to langs [en], but no language is measured: set "
            "measure.language: true or give the input a lang column"
        ),
        "filter.where: 'year' is neither a measure nor a column",
        "balance.by: 'topic' is no measure and no column; did you mean 'topics'?",
        "dedup.near.keep: 'popularity' is no measure and no column",
    ]


def test_output_columns_are_measures(write):
    """A name that is none is told with the nearest."""
    with pytest.raises(RecipeError, match="'repeat_runs' is no measure; did you mean 'repeat_run'"):
        load(write("input: {path: a}\noutput: {path: b, columns: [repeat_runs]}"))
    with pytest.raises(RecipeError, match=r"output.columns: 'lang' is not measured"):
        load(write("input: {path: a}\noutput: {path: b, columns: [lang]}\nmeasure: false"))


@pytest.mark.parametrize(
    ("text", "at", "message"),
    [
        ("filter: {wrods: {low: 3}}", "3:10", "filter.wrods: is no measure and no column; did you"),
        (
            "filter: {title: {low: 3}}",
            "3:10",
            "filter.title: is a column of String, not of numbers",
        ),
        ("filter:\n  where: yaer > 3", "4:10", "filter.where: 'yaer' is neither"),
        ("balance: {by: yaer}", "3:15", "balance.by: 'yaer' is no measure and no column; did you"),
        ("dedup: {near: {keep: [yaer]}}", "3:22", "dedup.near.keep: 'yaer' is no measure and no"),
    ],
)
def test_names_are_held_against_the_columns_and_have_a_place(write, text, at, message):
    """What only the input can tell is told as everything else: file, line, column, nearest name."""
    recipe = load(write(PATHS + text))
    with pytest.raises(RecipeError) as refused:
        recipe.check_columns({"year": pl.Int64(), "title": pl.String()})
    first = str(refused.value).split("\n")[0]
    assert first.startswith(f"recipe.yaml:{at}: ")
    assert message in first


def test_a_rule_may_bound_a_column(write):
    """A column of numbers is as good as a measure."""
    recipe = load(write(PATHS + "filter: {year: {low: 2000}}"))
    recipe.check_columns({"year": pl.Int64()})
    assert recipe.decision_columns()[0] == "year"
    table = pl.DataFrame({"year": [1999, 2000, None]})
    assert recipe.filter.failures(table)["year"].to_list() == [True, False, False]


def test_the_schema_describes_recipe_files():
    """Editors complete measures, presets, and sections that are off; nothing else is allowed."""
    validator = pytest.importorskip("jsonschema").Draft202012Validator(Recipe.model_json_schema())

    def plain(value):
        if isinstance(value, dict):
            return {key: plain(entry) for key, entry in value.items()}
        return [plain(entry) for entry in value] if isinstance(value, tuple) else value

    assert orjson.dumps(Recipe.model_json_schema())  # it knows no integer over 64 bits
    for path in (*CONFIGS.glob("*.yaml"), *files().values()):
        recipe = plain(read_file(path, path.name).plain())
        validator.validate({key: value for key, value in recipe.items() if key not in HEAD})
    measures = Recipe.model_json_schema()["$defs"]["Filter"]["properties"]
    assert set(measures) == {*MEASURES, "where", "urls"} - {"lang"}
    for wrong in ({"fitler": {}}, {"filter": {"words": {"lwo": 1}}}, {"extends": ["gohper"]}):
        assert not validator.is_valid(wrong)
    assert validator.is_valid({"dedup": False, "filter": {"words": False}, "input": {"path": "a"}})

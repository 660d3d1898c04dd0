"""Language models, classifiers and custom measures of the user."""

import importlib
import importlib.metadata
import os
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import orjson
import polars as pl
import pyarrow as pa
import pytest
from fasttext_file import write_model

from cleanpipe.errors import RecipeError, WorkerDiedError
from cleanpipe.identity import versions
from cleanpipe.kernels.buffers import text_buffers
from cleanpipe.measures import custom, fasttext_models
from cleanpipe.measures.classifier import Classifier
from cleanpipe.measures.fasttext_format import fault
from cleanpipe.measures.language import Language
from cleanpipe.measures.measure import measures
from cleanpipe.measures.measuring import Measure
from cleanpipe.recipes.recipe_file import load
from cleanpipe.run import Work

TEXTS = pa.array(
    ["good fine words\nof praise", "spam spam", "", "neither of them"], pa.large_string()
)
WORDS = {"good": ["good", "fine", "praise"], "bad": ["spam"]}
PACKAGE = """
import polars as pl

def shouting(texts):
    marks = [text.as_py().count("!") for text in texts]
    columns = {"marks": marks, "share": [m / 3 for m in marks], "loud": [m > 1 for m in marks]}
    return pl.DataFrame(columns,
                        schema={"marks": pl.Int32, "share": pl.Float32, "loud": pl.Boolean})

def short(texts):
    return pl.DataFrame({"x": [1]})

def listed(texts):
    return pl.DataFrame({"x": [[1]] * len(texts)}, schema={"x": pl.List(pl.Int64)})

def other(texts):
    kind = pl.Float64 if len(texts) else pl.Int64
    return pl.DataFrame({"x": [1] * len(texts)}, schema={"x": kind})

def far(texts):
    return pl.DataFrame({"far": [float("inf"), float("nan"), 1.0][: len(texts)]},
                        schema={"far": pl.Float64})

def none(texts):
    return pl.DataFrame()

def row(texts):
    return pl.DataFrame({"row": [0] * len(texts)}, schema={"row": pl.Int64})

def broken(texts):
    raise ValueError("no idea")

def words(texts):
    return pl.DataFrame({"words": [0] * len(texts)}, schema={"words": pl.Int64})

nothing = 3
"""


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "quality.bin", WORDS)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A folder with an installed package `loudness`."""
    site = tmp_path / "site"
    (site / "loudness-1.2.dist-info").mkdir(parents=True)
    (site / "loudness.py").write_text(PACKAGE)
    (site / "loudness-1.2.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: loudness\nVersion: 1.2\n"
    )
    (site / "loudness-1.2.dist-info" / "top_level.txt").write_text("loudness\n")
    monkeypatch.syspath_prepend(str(site))
    importlib.invalidate_caches()
    for known in (custom.function, custom.identity, custom.schema):
        known.cache_clear()
    yield site
    sys.modules.pop("loudness", None)


def test_a_model_scores_by_its_good_label(model):
    """The words of the label raise its probability; a text that it knows nothing of has none."""
    scores = Classifier(path=str(model)).scores(*text_buffers(TEXTS)).to_list()
    assert scores[0] > 0.9
    assert scores[1] < 0.1
    assert scores[2:] == [None, None]
    assert all(score * 65536 == int(score * 65536) for score in scores[:2])
    others = Classifier(path=str(model), label="bad").scores(*text_buffers(TEXTS[:2]))
    assert [a + b for a, b in zip(scores, others, strict=False)] == pytest.approx([1, 1], abs=1e-4)


def test_a_long_text_is_judged_by_head_middle_and_tail(model):
    """What stands between the pieces does not count."""
    long = pa.array(["good " * 10 + "spam " * 2000 + "good " * 10], pa.large_string())
    whole = Classifier(path=str(model)).scores(*text_buffers(long))
    pieces = Classifier(path=str(model), most_bytes=120).scores(*text_buffers(long))
    assert whole[0] < 0.1 < pieces[0]


def test_a_label_that_is_not_there_is_told_with_those_that_are(model, tmp_path):
    """Neither is guessed."""
    with pytest.raises(RecipeError, match=r"no label 'hq': name one of"):
        Classifier(path=str(model), label="hq").chosen()
    unnamed = write_model(tmp_path / "topics.bin", {"sports": ["ball"], "law": ["court"]})
    with pytest.raises(RecipeError, match=r"no label 'such as good': name one of sports, law"):
        Classifier(path=str(unnamed)).chosen()


@pytest.mark.parametrize("content", [b"abc", b"\0" * 100, os.urandom(5000)])
def test_what_is_no_model_is_refused_by_name(tmp_path, content):
    """Else fastText would end the process, or take what it finds for sizes."""
    path = tmp_path / "junk.bin"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=r"junk\.bin is no fastText model"):
        Language(model=str(path)).identify(*text_buffers(TEXTS))
    with pytest.raises(RecipeError, match=r"nowhere\.bin: the model cannot be read"):
        fasttext_models.checked(str(tmp_path / "nowhere.bin"))


def test_a_damaged_model_is_refused_or_works(tmp_path):
    """With any number of its head, dictionary or shapes another, it ends no process, nor hangs."""
    labels = {**WORDS, "ugly": ["mud"]}
    content = write_model(tmp_path / "whole.bin", labels).read_bytes()
    # with hierarchical softmax, a tree of the labels' counts
    content = content[:32] + struct.pack("<i", 1) + content[36:]
    (tmp_path / "tree.bin").write_bytes(content)
    for at in range(8, len(content) - 3, 4):
        for value in (0, 7, 1 << 30, -1):
            damaged = content[:at] + struct.pack("<i", value) + content[at + 4 :]
            (tmp_path / f"{at:03d} {value}.bin").write_bytes(damaged)
    code = """
import sys
from pathlib import Path
import fasttext
from cleanpipe.measures.fasttext_format import fault
for path in sorted(Path(sys.argv[1]).glob("*.bin")):
    print(path.name, fault(path), flush=True)
    if fault(path) is None:
        try:
            fasttext.load_model(str(path)).predict("good spam and mud\\n".strip(), -1)
        except (MemoryError, RuntimeError, ValueError) as error:
            print(error)
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stdout[-300:]
    assert "whole.bin None\n" in done.stdout
    assert "tree.bin None\n" in done.stdout
    assert done.stdout.count("is damaged") > 40


def test_a_model_that_is_cut_off_anywhere_is_refused(tmp_path):
    """Quantized ones, too: fastText would take what is missing for zeros."""
    own = write_model(tmp_path / "own.bin", WORDS).read_bytes()
    for content in (own, Path(Language().path()).read_bytes()):
        assert_cut_offs_are_refused(tmp_path / "cut.bin", content)


def assert_cut_offs_are_refused(path, content):
    path.write_bytes(content)
    assert fault(path) is None
    for size in {1, 7, 50, 90, len(content) // 2, len(content) - 1}:
        path.write_bytes(content[:size])
        assert fault(path) is not None, size


def test_a_model_that_ends_its_process_is_named(model):
    """Each is tried alone when the check of all of them ends a worker."""

    class Fragile:
        def call(self, check):
            if any(given.path == str(model) for given in check.__self__.models.values()):
                raise WorkerDiedError("a worker died")
            check()

    measure = Measure(models={"quality": {"path": str(model)}})
    work = SimpleNamespace(pool=Fragile(), recipe=SimpleNamespace(measure=measure))
    with pytest.raises(
        RecipeError, match=r"quality\.bin is damaged: whatever process loads it ends"
    ):
        Work._check_models(work)


def test_a_language_model_of_ones_own_gives_its_own_labels(tmp_path):
    """GlotLID's labels stay as they are, and what is below the threshold is und."""
    path = write_model(
        tmp_path / "lid.bin", {"fra_Latn": ["le"], "deu_Latn": ["der"], "ita_Latn": ["il"]}
    )
    texts = pa.array(["le le", "der der", "who", ""], pa.large_string())
    found = Language(model=str(path), threshold=0.5).identify(*text_buffers(texts))
    assert found["lang"].to_list() == ["fra_Latn", "deu_Latn", "und", "und"]
    assert found["lang_score"].to_list()[2:] == [0.0, 0.0]


def test_custom_measures_are_columns(package):
    """Whole numbers have 64 bits, a batch has the columns that no texts have."""
    assert package.is_dir()
    wanted = Measure(language=False, custom=("loudness:shouting",))
    assert wanted.own() == {"marks": pl.Int64(), "share": pl.Float64(), "loud": pl.Boolean()}
    frame = measures(pa.array(["a!!!", "b"], pa.large_string()), None, 0, wanted)
    assert frame.select("marks", "share", "loud").rows() == [(3, 1.0, True), (0, 0.0, False)]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("loudness", "expected package:function"),
        ("nowhere:thing", "no installed package has a module 'nowhere'"),
        ("loudness:missing", "cannot be imported"),
        ("loudness:nothing", "is no function"),
        ("loudness:short", "gave 1 rows for 0 texts"),
        ("loudness:listed", "gave 'x' as List"),
        ("loudness:broken", "failed on 0 texts: ValueError: no idea"),
        ("loudness:words", "gives a column: 'words' is a measure already"),
        ("loudness:row", "gives a column: 'row' is a name of our own tables"),
        ("loudness:none", "gave no columns"),
    ],
)
def test_a_custom_measure_that_cannot_be_had_says_why(package, name, says):
    """Before anything is measured."""
    assert package.is_dir()
    with pytest.raises(RecipeError, match=says):
        Measure(custom=(name,)).own()


def test_a_custom_measure_has_the_same_columns_for_any_texts(package):
    """Else what the rules were checked against is not what is measured."""
    assert package.is_dir()
    texts = pa.array(["a", "b", "c"], pa.large_string())
    with pytest.raises(RecipeError, match="gave x: Float64 for 3 texts and x: Int64 for none"):
        custom.columns("loudness:other", texts)
    assert custom.columns("loudness:far", texts)["far"].to_list() == [None, None, 1.0]


def test_a_file_that_hides_an_installed_package_does_not_run(package, tmp_path, monkeypatch):
    """A module of the same name in the current folder comes first on Python's path."""
    assert package.is_dir()
    (tmp_path / "loudness.py").write_text("raise SystemExit('it ran')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(
        RecipeError, match=r"would be imported from .*, which is not where loudness"
    ):
        Measure(custom=("loudness:shouting",)).own()


def test_a_file_in_the_current_folder_is_no_package(tmp_path, monkeypatch):
    """What happens to lie there must not run."""
    (tmp_path / "stray.py").write_text("raise SystemExit('it ran')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(RecipeError, match="no installed package has a module 'stray'"):
        Measure(custom=("stray:f",)).own()


def test_contents_are_part_of_the_run(model, package):
    """Another model under the same name, or another source, is another run."""
    wanted = Measure(models={"quality": {"path": str(model)}}, custom=("loudness:shouting",))
    before = wanted.identity()
    assert before["custom"]["loudness:shouting"]["version"] == "1.2"
    write_model(model, {**WORDS, "ugly": ["mud"]})
    assert wanted.identity()["models"] != before["models"]
    assert package.is_dir()
    assert versions()["fasttext-predict"] == importlib.metadata.version("fasttext-predict")


@pytest.mark.usefixtures("model")
def test_a_name_is_given_once(write, tmp_path):
    """A model cannot bear a measure's name, nor a column's; paths go from the recipe's folder."""
    with pytest.raises(RecipeError, match="'words' is a measure already"):
        load(write("input: {path: a}\noutput: {path: b}\nmeasure: {models: {words: quality.bin}}"))
    with pytest.raises(RecipeError, match="'shard' is a name of our own tables"):
        load(write("input: {path: a}\noutput: {path: b}\nmeasure: {models: {shard: quality.bin}}"))
    recipe = load(
        write("input: {path: a}\noutput: {path: b}\nmeasure: {models: {mine: quality.bin}}")
    )
    assert recipe.measure.models["mine"].path == str(tmp_path / "quality.bin")
    with pytest.raises(RecipeError, match=r"measure.models.mine: 'mine' is a column of the input"):
        recipe.check_columns({"mine": pl.Float64()})


@pytest.mark.usefixtures("model")
def test_a_run_filters_by_a_model_and_a_custom_measure(package, tmp_path):
    """The score and the columns decide, are written, counted and explained, in worker processes."""
    texts = ["good fine praise", "spam spam", "good!! fine praise"]
    lines = [orjson.dumps({"id": f"d{i}", "text": text}) for i, text in enumerate(texts)]
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(lines))
    recipe = {
        "version": 1,
        "seed": 1,
        "input": {"path": "in.jsonl"},
        "output": {"path": "out", "columns": ["quality", "marks"]},
        "measure": {
            "language": False,
            "models": {"quality": "quality.bin"},
            "custom": ["loudness:shouting"],
        },
        "filter": {"quality": {"low": 0.5}, "where": "NOT loud"},
    }
    (tmp_path / "recipe.yaml").write_bytes(orjson.dumps(recipe))
    shell = {**os.environ, "PYTHONPATH": f"{package}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    command = [
        sys.executable,
        "-m",
        "cleanpipe",
        "run",
        "recipe.yaml",
        "--workers",
        "1",
        "--json",
    ]
    done = subprocess.run(
        command, cwd=tmp_path, env=shell, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    stats = orjson.loads(done.stdout)["stats"]
    assert [(rule["rule"], rule["failed"]) for rule in stats["rules"]] == [
        ("quality", 1),
        ("where", 1),
    ]
    assert {"quality", "marks", "share"} <= set(stats["histograms"])
    part = pl.read_parquet(tmp_path / "out" / "data" / "0001" / "part-00000.parquet")
    assert part["id"].to_list() == ["d0"]
    assert part["marks"].to_list() == [0]
    (tmp_path / "quality.bin").write_bytes((tmp_path / "quality.bin").read_bytes()[:150])
    broken = subprocess.run(
        command, cwd=tmp_path, env=shell, capture_output=True, text=True, check=False
    )
    assert broken.returncode == 2
    assert "Traceback" not in broken.stderr
    assert "quality.bin ends too early: 150 bytes" in broken.stderr

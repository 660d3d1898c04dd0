"""Nights that clean only what is new: five of them, with what goes wrong, and what each leaves."""

import random
from functools import partial

import polars as pl
import pytest
from conftest import InProcess, digests, write_recipe_into
from hypothesis import given, settings
from hypothesis import strategies as st

from cleanpipe import store
from cleanpipe.errors import GateError, InputError, OutputError, RecipeError
from cleanpipe.nights import nights
from cleanpipe.nights.incremental import Night, nothing_new, run_new
from cleanpipe.nights.nightly import confirm
from cleanpipe.outcome import Run
from cleanpipe.recipes.recipe_file import load
from cleanpipe.run import Work, all_steps, silent
from cleanpipe.verify import faults_of

WORDS = [f"word{number}" for number in range(2_000)]


def text(number):
    """A text that is similar to no other one's."""
    return " ".join(random.Random(number).choices(WORDS, k=60))


def alike(number):
    """A near-duplicate of a text: its last word is another one."""
    return text(number).rpartition(" ")[0] + " otherwise"


class Corpus:
    """A folder that files are delivered into, its recipe and its output."""

    def __init__(self, folder, write_recipe):
        self.folder, self.write_recipe = folder / "in", write_recipe
        self.output = folder / "out"
        self.folder.mkdir()

    def recipe(self, **sections):
        # a part holds about 20 documents, so that parts and row groups are several
        known = {"output": {"shard_size": "8kB"}, **sections}
        known["output"] = {"path": str(self.output), **known["output"]}
        return load(self.write_recipe(input={"path": "in/*.parquet"}, dedup={}, **known))

    def deliver(self, name, texts):
        """A file of documents, whose ids are those of `texts`."""
        frame = pl.DataFrame({"id": [*texts], "text": [*texts.values()]})
        frame.write_parquet(self.folder / f"{name}.parquet")

    def night(self, **sections):
        """What `run_new` does, without processes of its own."""
        recipe = self.recipe(**sections)
        if nothing_new(recipe):
            return Run(confirm(recipe))
        return all_steps(Night(recipe, InProcess(), silent))

    def everything(self, **sections):
        """A run over all files."""
        return all_steps(Work(self.recipe(**sections), InProcess(), silent))

    def published(self):
        """The ids of the originals that readers see, in order."""
        parts = store.current_manifest(self.output)["parts"]
        frames = [pl.read_parquet(self.output / part["path"]) for part in parts]
        return [name for frame in frames for name in frame.filter(pl.col("copy") == 0)["id"]]


@pytest.fixture
def corpus(tmp_path, write_recipe):
    return Corpus(tmp_path, write_recipe)


def numbered(prefix, numbers):
    return {f"{prefix}{number}": text(number) for number in numbers}


def verdict(done, name):
    return done.verdicts.filter(pl.col("id") == name).collect().row(0, named=True)


def test_five_nights(corpus):
    """New, changed, removed and moved files, a failed gate, a late duplicate of night 1."""
    corpus.deliver("a", numbered("a", range(50)))
    first = corpus.night()
    assert len(corpus.published()) == 50

    # night 2: nothing new, though the file was touched
    (corpus.folder / "a.parquet").touch()
    assert corpus.night().folder == first.folder

    # night 3: a changed file, whose old documents are known, and a gate that fails at first
    corpus.deliver("a", numbered("a", range(40)) | numbered("a", range(100, 110)))
    with pytest.raises(GateError):
        corpus.night(gates={"kept_documents": {"low": 1_000}})
    assert len(corpus.published()) == 50
    third = corpus.night()
    assert third.stats["documents"] == {
        "read": 50,
        "kept": 10,
        "dropped": 40,
        "quarantined": 0,
        "added": 0,
        "written": 10,
    }
    assert third.stats["duplicates"]["earlier"]["exact"] == 40
    assert corpus.published() == [f"a{n}" for n in (*range(50), *range(100, 110))]

    # night 4: the file is gone, its documents stay; the new one repeats nights 1 and 3
    (corpus.folder / "a.parquet").rename(corpus.folder.parent / "kept-elsewhere.parquet")
    late = {"late1": alike(7), "late3": alike(105), "same": text(8), "fresh": text(500)}
    corpus.deliver("d", late)
    fourth = corpus.night()
    assert corpus.published()[-1] == "fresh"
    one, three = verdict(fourth, "late1"), verdict(fourth, "late3")
    assert (one["rule"], one["duplicate_of"], one["duplicate_run"]) == ("near", "a7", "0001")
    assert (three["duplicate_of"], three["duplicate_run"]) == ("a105", third.folder.name)
    assert one["similarity"] >= 0.8
    assert verdict(fourth, "same")["rule"] == "exact"

    # night 5: the file of night 1 is back under another name: its content is known
    (corpus.folder.parent / "kept-elsewhere.parquet").rename(corpus.folder / "e.parquet")
    assert nothing_new(corpus.recipe())
    assert nothing_new(corpus.recipe(), rehash=True)
    assert corpus.night().folder == fourth.folder
    assert faults_of(corpus.output) == []


@settings(max_examples=6)
@given(
    deliveries=st.lists(
        st.lists(st.tuples(st.integers(0, 15), st.booleans()), max_size=20), min_size=1, max_size=4
    )
)
def test_nights_keep_what_one_run_would(tmp_path_factory, deliveries):
    """However texts and their near-duplicates fall into nights, one of each cluster is published.

    It is one that the first night with any of them brought, and a run over everything keeps as
    many.
    """
    folder = tmp_path_factory.mktemp("nights")
    corpus = Corpus(folder, partial(write_recipe_into, folder))
    first: dict[int, int] = {}
    for night, numbers in enumerate(deliveries):
        names = {f"{night}-{place}-{n}": (n, near) for place, (n, near) in enumerate(numbers)}
        corpus.deliver(
            f"{night}", {i: alike(n) if near else text(n) for i, (n, near) in names.items()}
        )
        first = {n: night for n, _ in numbers} | first
        corpus.night()
    assert faults_of(corpus.output) == []
    found = [tuple(map(int, name.split("-"))) for name in corpus.published()]
    assert sorted((n, night) for night, _, n in found) == sorted(first.items())
    once = corpus.everything(output={"path": str(corpus.output) + "-once"})
    assert once.stats["documents"]["kept"] == len(first)


def test_a_night_drifts_from_all_nights_together(corpus):
    """A night of short and long texts is what two earlier ones brought, each of one kind."""
    short = {f"short{n}": text(n) for n in range(40)}
    long = {f"long{n}": f"{text(n)} {text(n + 500)}" for n in range(50, 90)}
    both = {f"b{n}": text(n) if n % 2 else f"{text(n)} {text(n + 900)}" for n in range(200, 260)}
    for name, texts in (("short", short), ("long", long), ("both", both)):
        corpus.deliver(name, texts)
        done = corpus.night()
        if name == "long":
            assert done.stats["drift"]["clean"]["words"]["effect"] == "large"
    assert done.stats["drift"]["against"] == "0002"
    assert done.stats["drift"]["clean"]["words"]["effect"] == "chance"


def test_a_run_over_everything_is_a_first_night(corpus):
    """The first night after it makes the index from its books."""
    corpus.deliver("a", numbered("a", range(30)))
    corpus.everything()
    corpus.deliver("b", {"again": text(3), "new": text(200)})
    corpus.night()
    assert corpus.published() == [*(f"a{n}" for n in range(30)), "new"]
    assert faults_of(corpus.output) == []


def test_what_is_forgotten_stays_away_and_its_duplicates_may_come(corpus):
    """Out of the parts at once; its file is read again, and only the duplicate comes in."""
    corpus.deliver("a", numbered("a", range(30)))
    corpus.everything()
    corpus.deliver("b", {"like5": alike(5), "b": text(300)})
    corpus.night()
    with pytest.raises(InputError, match="no published document has the id 'nobody'"):
        nights.forget(corpus.output, ["a5", "nobody"])
    assert "a5" in corpus.published()
    done = nights.forget(corpus.output, ["a5"])
    assert [one["id"] for one in done["freed"]] == ["like5"]
    assert "a5" not in corpus.published()
    assert faults_of(corpus.output) == []
    corpus.deliver("c", {"a5": text(5), "like29": alike(29), "like6": alike(6)})
    after = corpus.night()
    assert verdict(after, "a5")["rule"] == "forgotten"
    assert verdict(after, "like6")["duplicate_of"] == "a6"  # it has moved up in its part
    assert verdict(after, "like29")["duplicate_of"] == "a29"
    assert corpus.published() == [*(f"a{n}" for n in range(30) if n != 5), "b", "like5"]
    assert faults_of(corpus.output) == []


def test_an_index_made_after_forgetting_knows_where_documents_stand(corpus):
    """What was forgotten before the first night leaves no hole in it."""
    corpus.deliver("a", numbered("a", range(30)))
    corpus.everything()
    nights.forget(corpus.output, ["a3", "a4", "a20"])
    corpus.deliver("b", {f"like{n}": alike(n) for n in range(30)})
    done = corpus.night()
    assert set(corpus.published()[-3:]) == {"like3", "like4", "like20"}
    assert verdict(done, "like29")["duplicate_of"] == "a29"


def test_a_night_taken_back(corpus):
    """Readers see what was before; the next night takes the files again, as a run of its own."""
    corpus.deliver("a", numbered("a", range(30)))
    corpus.night()
    corpus.deliver("b", numbered("b", range(100, 110)))
    wrong = corpus.night()
    control = corpus.output / "_cleanpipe"
    old = (control / "manifest-2.json").read_bytes()
    assert nights.rollback(corpus.output)["number"] == 1
    assert corpus.published() == [f"a{n}" for n in range(30)]
    assert [one["run"] for one in store.manifests(control)] == ["0001"]
    again = corpus.night()
    assert again.folder != wrong.folder
    assert (control / "manifest-2.json").read_bytes() == old
    assert [one["number"] for one in store.manifests(control)] == [1, 3]
    assert len(corpus.published()) == 40
    assert faults_of(corpus.output) == []


def test_gc_keeps_what_the_newest_manifests_name(corpus):
    """What is published, and the one before, stay whole; there is no way back beyond."""
    for night in range(4):
        corpus.deliver(f"{night}", numbered(f"{night}-", range(night * 10, night * 10 + 10)))
        corpus.night()
    nights.forget(corpus.output, ["0-3"])
    old = corpus.output / "data" / "0001" / "part-00000.parquet"
    foreseen = nights.gc(corpus.output, dry_run=True)
    assert old.exists()
    assert foreseen == nights.gc(corpus.output)
    assert foreseen["paths"]
    assert old.exists()  # the manifest before forgetting names it
    nights.gc(corpus.output, keep=1)
    assert not old.exists()
    assert faults_of(corpus.output) == []
    with pytest.raises(OutputError, match="cleanpipe gc"):
        nights.rollback(corpus.output)
    corpus.deliver("5", {"late": alike(15)})
    assert verdict(corpus.night(), "late")["duplicate_of"] == "1-15"


def test_a_recipe_that_does_not_fit_is_refused(corpus):
    """What differs is named, with both values; gates may differ."""
    corpus.deliver("a", numbered("a", range(5)))
    corpus.night()
    corpus.deliver("b", numbered("b", range(10, 15)))
    with pytest.raises(RecipeError, match=r"filter\.rules.*|filter") as refused:
        corpus.night(filter={"words": {"low": 3}})
    assert "words" in str(refused.value)
    with pytest.raises(RecipeError, match="take parquet or arrow"):
        corpus.night(output={"format": "jsonl"})
    corpus.night(gates={"kept_documents": {"low": 1}})


def test_why_tells_of_all_nights(corpus):
    """A document of night 1 is found when night 2 is published; a duplicate shows the two texts."""
    corpus.deliver("a", numbered("a", range(5)))
    corpus.night()
    corpus.deliver("b", {"like2": alike(2)})
    corpus.night()
    published = Run.load(corpus.output)
    assert published.why("a2")[0]["run"] == "0001"
    story = published.why("like2")[0]
    assert story["representative"]["id"] == "a2"
    assert story["beside"]["text"] == text(2)


def test_any_number_of_workers_gives_the_same_night(corpus):
    """Parts, tables and index are byte for byte the same."""
    corpus.deliver("a", numbered("a", range(60)))
    corpus.night()
    corpus.deliver("b", {f"like{n}": alike(n) for n in range(30)} | numbered("b", range(90, 99)))
    corpus.deliver("c", numbered("c", range(200, 220)))
    corpus.night()
    alone = digests(corpus.output)
    index = store.current_manifest(corpus.output)["index"]
    nights.rollback(corpus.output)
    run_new(corpus.recipe(), workers=3)
    strip = {name.split("/", 1)[-1]: value for name, value in digests(corpus.output).items()}
    assert strip == {name.split("/", 1)[-1]: value for name, value in alone.items()}
    files = [
        {name: file["xxh3_128"] for name, file in one["files"].items()}
        for one in (*index, *store.current_manifest(corpus.output)["index"])
    ]
    assert files[: len(files) // 2] == files[len(files) // 2 :]


class _KilledError(BaseException):
    """The end of a night at some step."""


@pytest.mark.parametrize("step", ["normalize and measure", "compare with earlier nights", "count"])
def test_a_killed_night_goes_on(corpus, step):
    """Ended at a step, nothing is published; run again, the same run ends as it would have."""
    corpus.deliver("a", numbered("a", range(30)))
    corpus.night()
    corpus.deliver("b", numbered("b", range(60, 80)) | {"like4": alike(4)})

    def tell(name, done, total, _note=""):
        if name == step and done == total:
            raise _KilledError

    with pytest.raises(_KilledError):
        all_steps(Night(corpus.recipe(), InProcess(), tell))
    assert len(corpus.published()) == 30
    done = corpus.night()
    assert done.folder.name == "0002"
    assert len(corpus.published()) == 50
    assert verdict(done, "like4")["duplicate_of"] == "a4"
    assert faults_of(corpus.output) == []

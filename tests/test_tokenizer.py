"""Tokens by the user's tokenizer: the library's ids, bounded batches, bad files, and runs."""

import shutil
import sys
from itertools import groupby, pairwise

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
import pytest
from conftest import InProcess
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import repeats, window_entropy_min
from stability_reference import window_period_max
from tokenizers import ByteLevelBPETokenizer, Tokenizer, models, processors

from cleanpipe import measure
from cleanpipe.errors import RecipeError
from cleanpipe.kernels.buffers import text_buffers
from cleanpipe.kernels.counts import Count
from cleanpipe.kernels.token_ids import measure_ids
from cleanpipe.measures import tokenizer
from cleanpipe.measures.measuring import Measure
from cleanpipe.recipes.recipe_file import load
from cleanpipe.run import Work, all_steps

SENTENCES = ["the cat sat on the mat and the dog sat on the log", "der Hund saß auf der Matte"] * 9


def trained(sentences=SENTENCES, vocabulary=300):
    made = ByteLevelBPETokenizer()
    made.train_from_iterator(sentences, vocab_size=vocabulary, min_frequency=2, show_progress=False)
    return Tokenizer.from_str(made.to_str())


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    trained().save(str(path))
    return str(path)


def buffers(texts):
    return text_buffers(pa.array(texts, pa.large_string()))


def tokens_of(path, texts):
    places, ids = tokenizer.encode(path, *buffers(texts))
    return [ids[start:stop].tolist() for start, stop in pairwise(places)]


def library(path, text):
    return Tokenizer.from_file(path).encode(text, add_special_tokens=False).ids


@settings(max_examples=60)
@given(st.lists(st.text(max_size=60), max_size=6))
def test_tokens_are_the_librarys(file, texts):
    """Each text alone and among others has the ids that the library gives it."""
    assert tokens_of(file, texts) == [library(file, text) for text in texts]


@settings(max_examples=100)
@given(st.text("ab \n漢é😀", max_size=300), st.integers(9, 60), st.integers(1, 8))
def test_long_texts_are_cut_into_whole_characters(text, batch, near):
    """The pieces are the text, none is empty or longer than allowed, each is valid UTF-8."""
    data = text.encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokenizer, "BATCH", batch)
        patch.setattr(tokenizer, "NEAR", near)
        pieces = [data[a:b] for a, b in tokenizer._pieces(memoryview(data), 0, len(data))]
    assert b"".join(pieces) == data
    assert all(0 < len(piece) <= batch for piece in pieces)
    assert "".join(piece.decode() for piece in pieces) == text


def test_a_long_document_has_the_tokens_of_its_whole(file, monkeypatch):
    """Cut before blanks, a document has the same tokens; many short ones make batches."""
    long = " ".join(SENTENCES * 20)
    texts = ["", long, "the cat", *SENTENCES, long]
    whole = [library(file, text) for text in texts]
    monkeypatch.setattr(tokenizer, "BATCH", 500)
    monkeypatch.setattr(tokenizer, "NEAR", 50)
    assert tokens_of(file, texts) == whole
    rows = [rows for rows, _ in tokenizer._batches(*_memory(buffers(texts)))]
    assert len(rows) > len(long) // 500


def _memory(given):
    offsets, data = given
    return offsets, memoryview(data)


@settings(max_examples=80)
@given(
    st.lists(
        st.lists(
            st.tuples(
                st.lists(st.sampled_from([0, 1, 2, 2**32 - 1]), max_size=9), st.integers(1, 40)
            ),
            max_size=4,
        ).map(lambda parts: [i for ids, times in parts for i in ids * times]),
        max_size=4,
    )
)
def test_repeats_of_ids_are_the_references(texts):
    """The measures of repeats on ids are those of the slow reference; nothing else is written."""
    places = np.cumsum([0, *map(len, texts)])
    counts = np.full((len(texts), len(Count)), 5, np.int64)
    measure_ids(places, np.array([i for ids in texts for i in ids], np.uint32), counts)
    for ids, row in zip(texts, counts.tolist(), strict=True):
        entropy = window_entropy_min(ids)
        found = row[Count.WINDOW_ENTROPY_MIN]
        assert (row[Count.REPEAT_RUN], row[Count.REPEAT_TOKENS]) == repeats(ids)
        assert row[Count.WINDOW_PERIOD_MAX] == window_period_max(ids)
        assert row[Count.SAME_TOKEN_RUN] == max((len(list(g)) for _, g in groupby(ids)), default=0)
        assert found == -1 if entropy is None else abs(found / 2**16 - entropy) <= 2**-16
        assert row[Count.WORDS] == row[Count.UNBROKEN_RUN] == 5


def test_the_measures_of_tokens_are_of_the_tokenizers(file):
    """A row of one symbol is one token to us and many to a tokenizer; nothing else changes."""
    texts = ["the cat sat " * 50, "\\" * 500, "", "short"]
    ours, theirs = measure(texts), measure(texts, tokenizer=file)
    assert theirs["tokens"].to_list() == [len(library(file, text)) for text in texts]
    assert (ours["same_token_run"][1], theirs["same_token_run"][1]) == (1, 500)
    assert theirs["window_entropy_min"][1] == 0
    assert theirs["window_period_max"][1] == 1
    changed = {"repeat_run", "repeat_tokens", "same_token_run", "tokens"}
    changed |= {"window_entropy_min", "window_period_max"}
    same = [name for name in ours.columns if name not in changed]
    assert theirs.select(same).equals(ours.select(same))


def test_what_a_file_says_of_length_and_chance_is_switched_off(tmp_path):
    """Truncation, padding, dropout and special tokens of the file make no difference."""
    plain = trained()
    path = tmp_path / "tokenizer.json"
    plain.enable_truncation(3)
    plain.enable_padding(length=50)
    plain.post_processor = processors.TemplateProcessing("a $A a", None, [("a", 0)])
    plain.save(str(path))
    content = orjson.loads(path.read_bytes())
    content["model"]["dropout"] = 0.5
    path.write_bytes(orjson.dumps(content))
    text = SENTENCES[0] * 3
    wanted = trained().encode(text).ids
    assert tokens_of(str(path), [text] * 5) == [wanted] * 5


def test_a_changed_file_is_read_again(tmp_path):
    """One process that measures twice by a path takes the file as it is then."""
    path = tmp_path / "tokenizer.json"
    trained().save(str(path))
    before = tokens_of(str(path), SENTENCES[:1])
    trained(["xyz"], 256).save(str(path))
    assert len(tokens_of(str(path), SENTENCES[:1])[0]) == len(SENTENCES[0]) > len(before[0])


BAD = {
    "empty": b"",
    "no JSON": b"\x00\xff tokenizer",
    "another JSON": b'{"vocab": {"a": 0}}',
    "a list": b"[1, 2]",
    "deep": b"[" * 100_000,
    "an unknown model": b'{"version": "1.0", "added_tokens": [], "model": {"type": "Oracle"}}',
    "merges without words": b'{"version": "1.0", "added_tokens": [], "normalizer": null,'
    b' "pre_tokenizer": null, "post_processor": null, "decoder": null,'
    b' "model": {"type": "BPE", "vocab": {}, "merges": ["a b"]}}',
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_is_no_tokenizer_is_refused_by_name(tmp_path, name):
    """The message names the option, the file and what was expected."""
    path = tmp_path / "bad.json"
    path.write_bytes(BAD[name])
    with pytest.raises(RecipeError, match=r"measure\.tokenizer: .*bad\.json is no tokenizer\.json"):
        Measure(tokenizer=str(path)).check()


def test_a_file_that_cannot_be_read_is_refused_by_name(tmp_path, monkeypatch):
    """No file, a folder, and more bytes than any tokenizer has."""
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(RecipeError, match=r"measure\.tokenizer: .* cannot be read: .*name a"):
            Measure(tokenizer=str(path)).check()
    large = tmp_path / "large.json"
    large.write_bytes(b" " * 2000)
    monkeypatch.setattr(tokenizer, "MOST_BYTES", 1000)
    with pytest.raises(RecipeError, match=r"large\.json has 2,000 bytes, more than any"):
        Measure(tokenizer=str(large)).check()


def test_a_tokenizer_that_fails_on_a_text_is_refused(tmp_path):
    """A vocabulary without a word for the unknown cannot encode: the run ends, and says why."""
    path = tmp_path / "words.json"
    Tokenizer(models.WordLevel({"b": 0}, unk_token="?")).save(str(path))  # noqa: S106 - no secret
    with pytest.raises(RecipeError, match=r"words\.json cannot encode a text: .*UNK"):
        Measure(tokenizer=str(path)).check()


def test_without_the_package_the_extra_is_named(file, monkeypatch):
    """Who lacks tokenizers learns how to install it."""
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    tokenizer._loaded.cache_clear()
    with pytest.raises(RecipeError, match=r"pip install 'cleanpipe\[tokens\]'"):
        Measure(tokenizer=file).check()


def cleaned(recipe):
    return all_steps(Work(load(recipe), InProcess(), lambda *_: None))


NEEDS_TOKENS = [
    ({"filter": {"tokens": {"low": 3}}}, "filter.tokens: has bounds, but no tokens are counted"),
    ({"balance": {"by": "source", "unit": "tokens"}}, "balance.unit: no tokens are counted"),
    (
        {"output": {"path": "out", "columns": ["tokens"]}},
        "output.columns: 'tokens' is not measured",
    ),
]


@pytest.fixture
def corpus(tmp_path, write_recipe, file):
    """A function that writes a recipe over three documents beside a tokenizer."""
    texts = ["the cat sat on the mat", "the dog sat on the log " * 30, "the"]
    lines = [orjson.dumps({"text": text, "id": str(i)}) for i, text in enumerate(texts)]
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(lines))
    shutil.copy(file, tmp_path / "tokenizer.json")

    def recipe(**sections):
        given = {"path": "in.jsonl", "source": "pets"}
        return write_recipe(input=given, **sections)

    return recipe


@pytest.mark.parametrize(("sections", "message"), NEEDS_TOKENS)
def test_tokens_need_a_tokenizer(corpus, sections, message):
    """A rule, a unit and a column of tokens without one are refused, with the option to set."""
    with pytest.raises(RecipeError) as caught:
        cleaned(corpus(**sections))
    assert message in str(caught.value)
    assert "set measure.tokenizer to the path of a tokenizer.json" in str(caught.value)


def test_a_model_cannot_be_named_tokens():
    """The name is taken, whether or not there is a tokenizer."""
    with pytest.raises(ValueError, match="'tokens' is a measure already"):
        Measure(models={"tokens": "model.bin"})


def test_an_inputs_own_column_named_tokens_is_refused_beside_a_tokenizer(corpus, tmp_path):
    """Two columns of one name: the option and the column are named."""
    (tmp_path / "in.jsonl").write_bytes(orjson.dumps({"text": "a", "tokens": 1}))
    recipe = corpus(measure={"language": False, "tokenizer": "tokenizer.json"})
    with pytest.raises(RecipeError, match=r"measure\.tokenizer: 'tokens' is a column of the input"):
        cleaned(recipe)


def test_a_run_counts_filters_and_balances_by_tokens(corpus, tmp_path):
    """The path is the recipe's; the books count tokens; a changed tokenizer is another run."""
    recipe = corpus(
        measure={"language": False, "tokenizer": "tokenizer.json"},
        filter={"tokens": {"low": 2}, "repeat_run": {"high": 28}},
        balance={"by": "source", "unit": "tokens", "strategy": "proportional"},
        output={"path": "out", "columns": ["tokens"]},
        gates={"kept_share": {"low": 0.9}},
    )
    path = str(tmp_path / "tokenizer.json")
    assert load(recipe).measure.tokenizer == path
    with pytest.raises(Exception, match="kept_share"):
        cleaned(recipe)
    folder = tmp_path / "out" / "_cleanpipe" / "runs"
    identity = orjson.loads((folder / "0001" / "identity.json").read_bytes())
    assert identity["versions"]["tokenizers"]
    measured = pl.read_parquet(folder / "0001" / "measures" / "*.parquet")
    texts = [
        orjson.loads(line)["text"] for line in (tmp_path / "in.jsonl").read_bytes().split(b"\n")
    ]
    assert measured["tokens"].to_list() == [len(library(path, text.strip())) for text in texts]
    assert measured["repeat_run"].to_list() == [1, 29, 1]

    loosened = orjson.loads(recipe.read_bytes()) | {"gates": {}}
    recipe.write_bytes(orjson.dumps(loosened))
    done = cleaned(recipe)
    assert done.folder.name == "0001"  # the same tokenizer: the same run
    assert done.stats["clean"]["tokens"] == measured["tokens"][0]
    assert done.stats["raw"]["tokens"] == measured["tokens"].sum()

    recipe.write_bytes(orjson.dumps(loosened | {"gates": {"kept_share": {"low": 0.9}}}))
    with pytest.raises(Exception, match="kept_share"):
        cleaned(recipe)
    trained(["xyz"], 256).save(path)
    recipe.write_bytes(orjson.dumps(loosened))
    again = cleaned(recipe)
    assert again.folder.name == "0003"  # 0002 was begun with the tokenizer as it was
    assert again.stats["raw"]["tokens"] == sum(len(text.strip()) for text in texts)


@pytest.mark.corpora
def test_gpt2_gives_gpt2s_tokens(corpora, tmp_path):
    """vocab.json and merges.txt as a tokenizer.json: the words of GPT-2 that everyone knows."""
    folder = corpora / "tokenizers" / "gpt2"
    path = tmp_path / "gpt2.json"
    ByteLevelBPETokenizer(str(folder / "vocab.json"), str(folder / "merges.txt")).save(str(path))
    (found,) = tokens_of(str(path), ["Hello world, antidisestablishmentarianism!"])
    words = [Tokenizer.from_file(str(path)).id_to_token(number) for number in found]
    assert words == ["Hello", "Ġworld", ",", "Ġant", "idis", "establishment", "arian", "ism", "!"]

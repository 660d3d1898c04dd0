"""`cleanpipe export`: what a trainer reads back is each document's tokens, where the table says.

The readers here are written from the formats' facts, not taken from the trainers.
"""

import subprocess
import sys

import numpy as np
import orjson
import polars as pl
import pytest
from conftest import digests
from tokenizers import ByteLevelBPETokenizer, Tokenizer

from cleanpipe import store
from cleanpipe.errors import InputError, RecipeError
from cleanpipe.export.export import export, scrambled
from cleanpipe.export.forms import token_type
from cleanpipe.recipe_file import load
from cleanpipe.run import run

END = "<|endoftext|>"


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    made = ByteLevelBPETokenizer()
    texts = ["the cat sat on the mat", "der Hund saß auf der Matte"] * 9
    made.train_from_iterator(texts, 300, 1, show_progress=False, special_tokens=[END])
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    Tokenizer.from_str(made.to_str()).save(str(path))
    return str(path)


@pytest.fixture
def corpus(tmp_path, write_recipe):
    """A function that publishes texts in a format; the output folder, in parts of 20 kB."""

    def publish(form="parquet"):
        texts = [f"number {n} " + "the cat saß on the mat " * (n % 7 + 1) for n in range(400)]
        pl.DataFrame({"text": texts, "lang": ["en", "de"] * 200}).write_parquet(
            tmp_path / "in.parquet"
        )
        output = tmp_path / f"out-{form}"
        recipe = write_recipe(
            input={"path": "in.parquet"},
            output={"format": form, "shard_size": "20KB"},
        )
        run(load(recipe, output=str(output)), workers=1)
        return output

    return publish


def read_nanogpt(folder):
    return np.fromfile(folder / "train.bin", "<u2")


def read_llmc(folder):
    header = np.fromfile(folder / "train.bin", "<i4", 256)
    assert header[:2].tolist() == [20240520, 1]
    ids = np.fromfile(folder / "train.bin", "<u2", offset=1024)
    assert header[2] == len(ids)
    return ids


def read_megatron(folder):
    """The documents one after another, each by the index's own place and length."""
    index = (folder / "train.idx").read_bytes()
    assert index[:9] == b"MMIDIDX\x00\x00"
    assert index[17] == 8
    count = int(np.frombuffer(index, "<u8", 1, 18)[0])
    lengths = np.frombuffer(index, "<i4", count, 34)
    places = np.frombuffer(index, "<i8", count, 34 + 4 * count)
    bounds = np.frombuffer(index, "<i8", count + 1, 34 + 12 * count)
    assert len(index) == 34 + 12 * count + 8 * (count + 1)
    assert bounds.tolist() == list(range(count + 1))
    data = (folder / "train.bin").read_bytes()
    found = [np.frombuffer(data, "<u2", n, at) for n, at in zip(lengths, places, strict=True)]
    return np.concatenate(found)


READERS = {"nanogpt": read_nanogpt, "llmc": read_llmc, "megatron": read_megatron}


def written(output, to, tokens, **options):
    return export(
        output,
        to,
        **{"form": "nanogpt", "end": END, "order": "shuffle", "seed": 0} | options,
        tokens=tokens,
    )


@pytest.mark.parametrize("form", READERS)
@pytest.mark.parametrize("order", ["shuffle", "stored"])
def test_each_document_is_read_back_where_the_table_says(corpus, tokens, tmp_path, form, order):
    """Every written document is there once, as the library's ids and the end, and nothing else."""
    output = corpus()
    said = written(output, tmp_path / "to", tokens, form=form, order=order)
    ids = READERS[form](tmp_path / "to")
    places = pl.read_parquet(tmp_path / "to" / "train.docs.parquet")
    assert places["token_start"].to_list() == [0, *places["token_end"][:-1]]
    assert places["token_end"][-1] == len(ids) == said["tokens"]
    parts = {name: pl.read_parquet(output / name) for name in places["part"].unique()}
    assert len(parts) > 1
    assert places.n_unique(["part", "row"]) == sum(map(len, parts.values())) == said["documents"]
    library = Tokenizer.from_file(tokens)
    for place in places.iter_rows(named=True):
        row = parts[place["part"]].row(place["row"], named=True)
        own = ids[place["token_start"] : place["token_end"]].tolist()
        assert own == [*library.encode(row["text"]).ids, library.token_to_id(END)]
        assert (place["id"], place["lang"]) == (row["id"], row["lang"])


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_order(
    corpus, tokens, tmp_path
):
    """Bytes depend on corpus, tokenizer, order and seed; a later export replaces it."""
    output = corpus()
    for name in "ab":
        written(output, tmp_path / name, tokens)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    written(output, tmp_path / "b", tokens, seed=1)
    assert digests(tmp_path / "a").keys() == digests(tmp_path / "b").keys()
    orders = [pl.read_parquet(tmp_path / n / "train.docs.parquet")["id"].to_list() for n in "ab"]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])
    assert not store.check_files(
        tmp_path / "b", orjson.loads((tmp_path / "b" / "export.json").read_bytes())["files"]
    )


def test_parts_of_every_format_give_the_same_tokens(corpus, tokens, tmp_path):
    """Parquet, Arrow and JSON lines hold the same documents, so the token files are equal."""
    forms = ("parquet", "arrow", "jsonl.zst")
    for form in forms:
        written(corpus(form), tmp_path / form, tokens, order="stored")
    assert len({(tmp_path / form / "train.bin").read_bytes() for form in forms}) == 1


def test_a_shuffle_has_no_memory_of_the_order():
    """Neighbours in the shuffle are as far apart as chance puts them, and seeds are unrelated."""
    count = 20_000
    places = np.argsort(scrambled(count, 3))
    assert abs(np.corrcoef(places, np.arange(count))[0, 1]) < 4 / count**0.5
    assert abs(np.corrcoef(places[:-1], places[1:])[0, 1]) < 4 / count**0.5
    other = np.argsort(scrambled(count, 4))
    assert abs(np.corrcoef(places, other)[0, 1]) < 4 / count**0.5


def test_what_cannot_be_is_refused_before_anything_is_written(corpus, tokens, tmp_path):
    """An unknown name, end token or unpublished folder, a changed part: one line with a move."""
    output = corpus()
    for options in ({"form": "nanogtp"}, {"order": "any"}, {"end": "</s>"}, {"seed": -1}):
        with pytest.raises(RecipeError):
            written(output, tmp_path / "to", tokens, **options)
    with pytest.raises(InputError, match=r"HEAD\.json"):
        written(tmp_path, tmp_path / "to", tokens)
    with pytest.raises(RecipeError, match="65,536"):
        token_type("nanogpt", 65_537)
    part = next((output / "data").rglob("part-*.parquet"))
    part.chmod(0o644)
    part.write_bytes(part.read_bytes()[:-1] + b"X")
    with pytest.raises(InputError, match="changed"):
        written(output, tmp_path / "to", tokens)
    assert not (tmp_path / "to").exists()


def test_the_verb_writes_and_prints(corpus, tokens, tmp_path):
    """`cleanpipe export OUT TO --tokens FILE --json` prints what export.json says."""
    line = [sys.executable, "-m", "cleanpipe.cli", "export", str(corpus()), str(tmp_path / "to")]
    done = subprocess.run(
        [*line, "--tokens", tokens, "--format", "llmc", "--json"],
        capture_output=True,
        check=True,
    )
    assert orjson.loads(done.stdout) == orjson.loads((tmp_path / "to" / "export.json").read_bytes())

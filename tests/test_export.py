"""`cleanpipe export`: what a trainer reads back is each document's tokens, where the table says.

The readers here are written from the formats' facts, not taken from the trainers.
"""

import doctest
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
import pytest
from conftest import InProcess
from tokenizers import ByteLevelBPETokenizer, Tokenizer

from cleanpipe import store
from cleanpipe.errors import InputError, LockedError, OutputError, RecipeError
from cleanpipe.export import holding_out
from cleanpipe.export.export import export
from cleanpipe.export.forms import Stream, token_type
from cleanpipe.export.order import shuffled
from cleanpipe.export.published import manifest_of
from cleanpipe.kernels.buffers import text_buffers
from cleanpipe.kernels.hashing import hash_texts
from cleanpipe.recipes.recipe_file import load
from cleanpipe.run import Work, all_steps, run

END = "<|endoftext|>"


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    made = ByteLevelBPETokenizer()
    texts = ["the cat sat on the mat", "der Hund saß auf der Matte"] * 9
    made.train_from_iterator(texts, 300, 1, show_progress=False, special_tokens=[END])
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    Tokenizer.from_str(made.to_str()).save(str(path))
    return str(path)


TEXTS = [f"number {n % 380} " + "the cat saß on the mat " * (n % 7) for n in range(400)]


def published(folder, form="parquet", texts=TEXTS, **sections):
    """The output folder of a run over these texts, in parts of 20 kB."""
    folder.mkdir(exist_ok=True)
    langs = [("en", "de")[len(text) % 2] for text in texts]
    pl.DataFrame({"text": texts, "lang": langs}).write_parquet(folder / "in.parquet")
    known = {"version": 1, "seed": 7, "input": {"path": "in.parquet"}, **sections}
    known["output"] = {"path": "out", "format": form, "shard_size": "20KB"}
    recipe = folder / "recipe.yaml"
    recipe.write_bytes(orjson.dumps(known))
    output = folder / f"out-{form}"
    run(load(recipe, output=str(output)), workers=1)
    return output


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    """A publication in Parquet; no test changes it."""
    return published(tmp_path_factory.mktemp("published"))


def read_nanogpt(folder):
    return np.fromfile(folder / "train.bin", "<u2")


def read_llmc(folder):
    """Every file by its own header, as a loader walks over them."""
    found = []
    for path in sorted(folder.glob("train_*.bin")):
        header = np.fromfile(path, "<i4", 256)
        assert header[:2].tolist() == [20240520, 1]
        assert not header[3:].any()
        found.append(np.fromfile(path, "<u2", offset=1024))
        assert header[2] == len(found[-1])
    return np.concatenate(found)


def read_megatron(folder):
    """The documents one after another, each by the index's own place and length."""
    index = (folder / "train.idx").read_bytes()
    assert index[:9] == b"MMIDIDX\x00\x00"
    assert int(np.frombuffer(index, "<u8", 1, 9)[0]) == 1
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


def read_datasets(folder):
    """What the package datasets reads back, row after row; its documents are the table's rows."""
    datasets = pytest.importorskip("datasets")
    read = datasets.load_from_disk(str(folder))
    assert read["document"][:] == list(range(len(places(folder))))
    return np.concatenate([np.array(row["input_ids"]) for row in read])


READERS = {"nanogpt": read_nanogpt, "llmc": read_llmc, "megatron": read_megatron}
READERS["datasets"] = read_datasets


def hashes(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def places(folder):
    return pl.read_parquet(folder / "train.docs.parquet")


@pytest.mark.parametrize("form", READERS)
@pytest.mark.parametrize("order", ["shuffle", "stored"])
def test_each_document_is_read_back_where_the_table_says(output, tokens, tmp_path, form, order):
    """Every written document is there once, as the library's ids and the end, and nothing else."""
    said = export(
        output, tmp_path / "to", tokens=tokens, form=form, arranged=order, file_tokens=7_001
    )
    ids = READERS[form](tmp_path / "to")
    table = places(tmp_path / "to")
    assert table["token_start"].to_list() == [0, *table["token_end"][:-1]]
    assert table["token_end"][-1] == len(ids) == said["tokens"]
    parts = {name: pl.read_parquet(output / name) for name in table["part"].unique()}
    assert len(parts) > 1
    assert table.n_unique(["part", "row"]) == sum(map(len, parts.values())) == said["documents"]
    library = Tokenizer.from_file(tokens)
    for place in table.iter_rows(named=True):
        row = parts[place["part"]].row(place["row"], named=True)
        own = ids[place["token_start"] : place["token_end"]].tolist()
        assert own == [*library.encode(row["text"]).ids, library.token_to_id(END)]
        assert [place[n] for n in ("id", "copy", "lang")] == [
            row[n] for n in ("id", "copy", "lang")
        ]
    first = [(f["first_token"], f["tokens"]) for f in said["files"] if "tokens" in f]
    assert [at for at, _ in first] == [0, *np.cumsum([n for _, n in first])[:-1]]
    assert len(first) == (-(-len(ids) // 7_001) if form == "llmc" else 1)
    assert not store.check_files(tmp_path / "to", said["files"])
    assert set(hashes(tmp_path / "to")) == {"export.json", *(f["name"] for f in said["files"])}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_order(
    output, tokens, tmp_path
):
    """Bytes depend on corpus, tokenizer, order and seed; a later export replaces an earlier one."""
    for name in "ab":
        export(output, tmp_path / name, tokens=tokens)
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")
    export(output, tmp_path / "b", tokens=tokens, form="llmc", seed=1)
    assert not (tmp_path / "b" / "train.bin").exists()
    orders = [places(tmp_path / name)["id"].to_list() for name in "ab"]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])


def test_the_order_is_the_documents_own(output, tokens, tmp_path):
    """The same texts, in other rows and under other ids, are the same shuffled tokens."""
    other = published(tmp_path, texts=TEXTS[::-1])
    for name, corpus in (("a", output), ("b", other)):
        export(corpus, tmp_path / name, tokens=tokens)
    assert hashes(tmp_path / "a")["train.bin"] == hashes(tmp_path / "b")["train.bin"]
    assert places(tmp_path / "a")["id"].to_list() != places(tmp_path / "b")["id"].to_list()


def test_parts_of_every_format_give_the_same_export(output, tokens, tmp_path):
    """Parquet, Arrow and JSON lines hold the same documents, so the exports are equal."""
    forms = {"parquet": output}
    forms |= {form: published(tmp_path, form) for form in ("arrow", "jsonl")}
    for form, corpus in forms.items():
        export(corpus, tmp_path / form, tokens=tokens, arranged="stored")
    assert len({(tmp_path / form / "train.bin").read_bytes() for form in forms}) == 1
    tables = [places(tmp_path / form).drop("part") for form in forms]
    assert tables[0].equals(tables[1])
    assert tables[0].equals(tables[2])


def hashed(numbers):
    frame = pl.DataFrame({"text_lo": numbers, "text_hi": numbers}).cast(pl.UInt64)
    return frame.with_columns(id=pl.lit("x"), copy=pl.lit(0))


def test_a_shuffle_has_no_memory_of_the_order():
    """Neighbours in the shuffle are as far apart as chance puts them, and seeds are unrelated."""
    count = 20_000
    at = shuffled(hashed(np.arange(count)), 3)
    assert sorted(at) == list(range(count))
    assert abs(np.corrcoef(at, np.arange(count))[0, 1]) < 4 / count**0.5
    assert abs(np.corrcoef(at[:-1], at[1:])[0, 1]) < 4 / count**0.5
    assert abs(np.corrcoef(at, shuffled(hashed(np.arange(count)), 4))[0, 1]) < 4 / count**0.5


def test_equal_texts_do_not_come_to_stand_together():
    """Copies of one text are spread like texts of their own: as many neighbours as by chance."""
    count, each = 20_000, 200
    texts = np.arange(count) // each
    at = texts[shuffled(hashed(texts), 5)]
    together = (at[:-1] == at[1:]).sum()
    expected = count * (each - 1) / (count - 1)
    assert abs(together - expected) < 4 * expected**0.5


def test_long_documents_are_cut_between_files_and_nowhere_else():
    """Pieces put together are the stream; none goes over a file's end; documents stay whole."""
    lengths = np.array([3, 1, 3_000_000, 2, 5])
    starts = np.array([8, 0, 11, 5, 1])
    stored = np.arange(3_000_020, dtype=np.uint32)
    stream = Stream(stored, starts, lengths)
    whole = np.concatenate([stored[s : s + n] for s, n in zip(starts, lengths, strict=True)])
    pieces = list(stream.pieces(7))
    assert np.array_equal(np.concatenate(pieces), whole)
    assert all(len(piece) <= 7 for piece in pieces)
    ends = np.cumsum([len(piece) for piece in pieces])
    assert set(range(7, len(whole), 7)) <= set(ends.tolist())
    groups = list(stream.documents())
    assert np.array_equal(np.concatenate([ids for _, ids in groups]), whole)
    assert [len(ids) for _, ids in groups] == [lengths[rows].sum() for rows, _ in groups]


def test_what_cannot_be_is_refused_before_anything_is_written(output, tokens, tmp_path):
    """An unknown name, end token or unpublished folder, a changed part: one line with a move."""
    to = tmp_path / "to"
    wrong = ({"form": "nanogtp"}, {"arranged": "any"}, {"end": "</s>"}, {"seed": -1})
    for options in (*wrong, {"file_tokens": 0}):
        with pytest.raises(RecipeError):
            export(output, to, **{"tokens": tokens} | options)
    with pytest.raises(InputError, match=r"HEAD\.json"):
        export(tmp_path, to, tokens=tokens)
    with pytest.raises(RecipeError, match="65,536"):
        token_type("nanogpt", 65_537)
    changed = tmp_path / "changed"
    shutil.copytree(output, changed)
    part = next((changed / "data").rglob("part-*.parquet"))
    part.chmod(0o644)
    part.write_bytes(part.read_bytes()[:-1] + b"X")
    with pytest.raises(InputError, match="changed"):
        export(changed, to, tokens=tokens)
    assert not to.exists()


def test_a_publication_without_documents_is_refused(output, tokens, tmp_path):
    """No trainer reads an empty file; what stood there before stays."""
    export(output, tmp_path / "to", tokens=tokens)
    before = hashes(tmp_path / "to")
    empty = published(tmp_path / "empty", filter={"words": {"low": 1_000}})
    with pytest.raises(InputError, match="no document"):
        export(empty, tmp_path / "to", tokens=tokens)
    assert hashes(tmp_path / "to") == before


def test_an_export_is_there_as_a_whole_or_not(output, tokens, tmp_path, monkeypatch):
    """A fault at any file leaves the earlier export as it was, and nothing beside it."""
    export(output, tmp_path / "to", tokens=tokens, form="megatron")
    before = hashes(tmp_path / "to")
    write = store.write_file
    for broken in range(5):
        calls = []

        def failing(path, fill, broken=broken, calls=calls, **options):
            calls.append(path)
            if len(calls) > broken:
                raise OSError(28, "No space left on device")
            return write(path, fill, **options)

        monkeypatch.setattr(store, "write_file", failing)
        with pytest.raises(OutputError, match="free some space"):
            export(output, tmp_path / "to", tokens=tokens, form="megatron", seed=9)
        assert hashes(tmp_path / "to") == before
    assert len(calls) == 5
    monkeypatch.undo()
    assert not list(tmp_path.glob(".tmp-*"))
    (tmp_path / f".tmp-to-{os.getpid()}-01234567").mkdir()  # what a kill leaves
    export(output, tmp_path / "to", tokens=tokens, seed=9)
    assert not list(tmp_path.glob(".tmp-*"))
    tables = {"train.docs.parquet", "train.repeats.parquet"}
    assert hashes(tmp_path / "to").keys() == {"train.bin", "export.json", *tables}


def test_no_folder_of_others_is_replaced_and_no_two_write_at_once(output, tokens, tmp_path):
    """A folder without export.json stays as it is; a second export at once is refused."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "thesis.txt").write_text("years")
    with pytest.raises(OutputError, match=r"holds thesis\.txt"):
        export(output, tmp_path / "own", tokens=tokens)
    held = store.take_lock(tmp_path / ".to.lock")
    try:
        with pytest.raises(LockedError, match=r"to is being written by another"):
            export(output, tmp_path / "to", tokens=tokens)
    finally:
        os.close(held)
    (tmp_path / "to").mkdir()
    export(output, tmp_path / "to", tokens=tokens)


def test_spread_through_the_verb(output, tokens, tmp_path):
    """Every document once, files of whole batches, what was kept in export.json and in words."""
    line = [sys.executable, "-m", "cleanpipe", "export", str(output), str(tmp_path / "to")]
    line += ["--tokens", tokens, "--format", "llmc", "--order", "spread", "--file-tokens", "7000"]
    done = subprocess.run(
        [*line, "--batch-tokens", "2000", "--cluster", "0.2"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "spread over batches of 2,000 tokens: " in done.stdout
    said = orjson.loads((tmp_path / "to" / "export.json").read_bytes())
    sizes = [file["tokens"] for file in said["files"] if "tokens" in file]
    assert set(sizes[:-1]) == {6_000}
    assert said["spread"]["kinds"]["text"]["over_by_several"] == 0
    table = places(tmp_path / "to")
    assert table.n_unique(["part", "row"]) == len(table) == 400
    for options, wrong in (({}, "--batch-tokens"), ({"form": "megatron"}, "order of its own")):
        with pytest.raises(RecipeError, match=wrong):
            export(output, tmp_path / "no", tokens=tokens, arranged="spread", **options)


def test_the_verb_writes_and_prints(output, tokens, tmp_path):
    """`cleanpipe export OUT TO --tokens FILE --json` prints what export.json says."""
    line = [sys.executable, "-m", "cleanpipe", "export", str(output), str(tmp_path / "to")]
    done = subprocess.run(
        [*line, "--tokens", tokens, "--format", "llmc", "--json"], capture_output=True, check=True
    )
    assert orjson.loads(done.stdout) == orjson.loads((tmp_path / "to" / "export.json").read_bytes())


def test_the_page_shows_what_happens(output, tokens, tmp_path, monkeypatch, capsys):
    """The commands of docs/export.md print what stands below them; the programs run after them."""
    page = (Path(__file__).parents[1] / "docs" / "export.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    Path("clean").symlink_to(output)
    Path("tokenizer.json").symlink_to(tokens)
    for block in re.findall(r"```console\n(.*?)```", page, re.DOTALL):
        for said in block.split("$ ")[1:]:
            command, _, wanted = said.partition("\n")
            words = [sys.executable, "-m", "cleanpipe", *command.split()[1:]]
            done = subprocess.run(words, capture_output=True, check=True, text=True)
            assert doctest.OutputChecker().check_output(wanted, done.stdout, doctest.ELLIPSIS)
    known = {}
    for program in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(program, known)  # noqa: S102 - our own page
    table = places(Path("tokens"))
    shown = table.filter(pl.col("token_start") <= 5_000)["id"][-1]
    assert capsys.readouterr().out.startswith(shown)


PROSE = "ship sails north wind over cold grey water while the crew sleeps and nobody hears a bell"


def near(number, words=60):
    """A text of words by chance, and one of which two words differ."""
    chance = np.random.default_rng(number)
    text = chance.choice(np.array([w + x for w in PROSE.split() for x in "abcdefgh"]), words)
    other = text.copy()
    other[[3, -1]] = "changed"
    return " ".join(text), " ".join(other)


@pytest.fixture(scope="module")
def alike(tmp_path_factory):
    """200 pairs of near-duplicates and 3 equal texts, none of which a run took out."""
    texts = [text for number in range(200) for text in near(number)] + ["one text"] * 3
    folder = tmp_path_factory.mktemp("alike")
    pl.DataFrame({"text": texts}).write_parquet(folder / "in.parquet")
    known = {"version": 1, "seed": 7, "input": {"path": str(folder / "in.parquet")}, "dedup": None}
    (folder / "recipe.yaml").write_bytes(orjson.dumps(known | {"output": {"path": "out"}}))
    recipe = load(folder / "recipe.yaml", output=str(folder / "out"))
    all_steps(Work(recipe, InProcess(), lambda *_: None))
    return folder / "out"


@pytest.mark.parametrize("form", READERS)
def test_a_validation_set_is_held_out_by_whole_clusters(alike, tokens, tmp_path, form):
    """No pair straddles, every document stands on one side, and both sides read back."""
    to = tmp_path / "to"
    said = export(alike, to, tokens=tokens, form=form, validation=0.2, seed=3)
    train, held = (pl.read_parquet(to / f"{name}.docs.parquet") for name in ("train", "val"))
    assert len(train) + len(held) == 403
    assert said["validation"]["documents"] == len(held)
    assert 40 < len(held) < 120
    by_text = side_of(alike, train, held)
    assert all(by_text[one] == by_text[other] for one, other in map(near, range(200)))
    assert len(READERS[form](to)) == said["tokens"] == train["token_end"][-1]
    other = tmp_path / "val"
    (to / "val").rename(other) if form == "datasets" else as_train(to, other)
    (other / "train.docs.parquet").write_bytes((to / "val.docs.parquet").read_bytes())
    assert len(READERS[form](other)) == said["validation"]["tokens"] == held["token_end"][-1]


def as_train(folder, other):
    """The validation files under the names of training files."""
    other.mkdir()
    for path in folder.glob("val[._]*"):
        shutil.copy(path, other / path.name.replace("val", "train", 1))


def side_of(output, *tables):
    """By text, the number of the table that it stands in."""
    numbered = [t.select("row", "part", side=pl.lit(n)) for n, t in enumerate(tables)]
    sides = pl.concat(numbered).sort("part", "row")["side"]
    texts = pl.concat(
        pl.read_parquet(output / part["path"], columns=["text"])
        for part in manifest_of(output)["parts"]
    )
    return dict(zip(texts["text"], sides, strict=True))


def test_who_is_held_out_does_not_depend_on_the_order():
    """The same texts in another order, the same texts held out; another seed, others."""
    texts = [text for number in range(300) for text in near(number)]

    def held(texts, seed):
        offsets, data = text_buffers(pa.array(texts, pa.large_string()))
        low, high = hash_texts(offsets, data, np.uint64(0))
        ids = [str(n) for n in range(len(texts))]
        table = pa.table({"id": ids, "text_lo": low, "text_hi": high})
        lengths = np.full(len(texts), 70)
        out = holding_out.held_out(table, holding_out.bands(offsets, data), lengths, 0.3, seed)
        return {text for text, one in zip(texts, out, strict=True) if one}

    assert held(texts, 1) == held(texts[::-1], 1) != held(texts, 2)
    assert 120 < len(held(texts, 1)) < 240
    assert held([*texts, *["the same"] * 250], 1) == held(texts, 1)  # a cluster that is too large


def test_a_share_that_holds_out_nobody_is_refused(alike, tokens, tmp_path):
    """None of 403 documents at a share of a ten-thousandth; and no share of one."""
    for share, wrong in ((1e-4, "0 of 403 documents"), (1.0, "expected a share"), (-0.1, "share")):
        with pytest.raises(RecipeError, match=wrong):
            export(alike, tmp_path / "to", tokens=tokens, validation=share)
    assert not (tmp_path / "to").exists()

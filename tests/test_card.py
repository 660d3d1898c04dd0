"""The dataset card and Croissant metadata, read back by the libraries that they are written for."""

import orjson
import polars as pl
import pytest
from conftest import InProcess
from ruamel.yaml import YAML

from cleanpipe.errors import InputError
from cleanpipe.export import card
from cleanpipe.outcome import Run
from cleanpipe.recipes.recipe_file import load
from cleanpipe.run import Work, all_steps

HOSTILE = [
    "| a | cell",
    "---\nlicense: stolen",
    "</table><script>alert(1)</script>",
    "`code` ![x](javascript:1)",
    '": {"@id": "x"}',
    "\u202eright to left",
    "",
]


@pytest.fixture
def publish(tmp_path, write_recipe):
    """A function that cleans documents of hostile sources, and gives the output folder."""

    def publish(**sections):
        folder = tmp_path / "in"
        folder.mkdir(exist_ok=True)
        lines = (
            orjson.dumps({"id": f"d{n}", "text": f"{n} gulls sat on the pier.", "source": one})
            for n, one in enumerate(HOSTILE * 3)
        )
        (folder / "a.jsonl").write_bytes(b"\n".join(lines))
        known = {"input": {"path": "in/*.jsonl"}, "output": {"path": "out"}, **sections}
        all_steps(Work(load(write_recipe(**known)), InProcess(), lambda *_: None))
        return tmp_path / "out"

    return publish


def front_matter(path):
    _, head, body = path.read_text(encoding="utf-8").split("---\n", 2)
    return YAML(typ="safe", pure=True).load(head), body


@pytest.mark.parametrize("name", HOSTILE[:-1])
def test_whatever_the_name_the_card_is_what_was_meant(publish, name):
    """Hostile names and sources neither add keys to the front matter nor markup to the tables."""
    output = publish()
    readme, metadata = card.write(output, name, "cc0-1.0")
    front, body = front_matter(readme)
    assert front["pretty_name"] == name
    assert (front["license"], front["size_categories"]) == ("cc0-1.0", ["n<1K"])
    assert front["configs"][0]["data_files"] == ["data/0001/part-*.parquet"]
    assert orjson.loads(metadata.read_bytes())["name"] == name
    assert "<script" not in body.replace("<!--", "")
    assert "](" not in body
    rows = [line for line in body.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in rows if "gulls" not in line} == {5}
    assert "21 of 21 that were read" in body


@pytest.mark.filterwarnings("ignore")  # of what rdflib and pandas tell mlcroissant
def test_croissant_is_read_back(publish):
    """The library finds no error, and gives every record with its columns."""
    mlcroissant = pytest.importorskip("mlcroissant")
    output = publish(filter={"where": "id != 'd3'"}, output={"path": "out", "columns": ["words"]})
    _, path = card.write(output, "gulls")
    dataset = mlcroissant.Dataset(str(path))
    assert not dataset.metadata.ctx.issues.errors
    assert dataset.metadata.conforms_to == [card.CROISSANT]
    records = list(dataset.records("documents"))
    assert len(records) == 20
    names = pl.read_parquet_schema(Run.load(output).parts[0])
    assert {len(record) for record in records} == {len(names)}
    assert sorted(record["documents/1"].decode() for record in records) == sorted(
        f"{n} gulls sat on the pier." for n in range(21) if n != 3
    )


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_datasets_reads_the_folder_by_its_card(publish, form, tmp_path, monkeypatch):
    """Hugging Face's library loads the output folder: the parts and nothing of the books."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    output = publish(output={"path": "out", "format": form})
    card.write(output, "gulls")
    found = datasets.load_dataset(str(output), cache_dir=str(tmp_path / "cache"))
    assert found["train"].num_rows == 21
    assert {"id", "text", "copy", "augmented_by", "source"} <= set(found["train"].column_names)


def test_an_empty_corpus_has_a_card(publish):
    """Nothing kept: the card says so, and names no files."""
    readme, path = card.write(publish(filter={"words": {"low": 99}}), "none")
    front, body = front_matter(readme)
    assert "configs" not in front
    assert "0 documents, 0 of text without extra copies: 0 of 21 that were read" in body
    assert "recordSet" not in orjson.loads(path.read_bytes())


def test_nothing_published_is_refused(tmp_path):
    """A folder without HEAD has no card."""
    with pytest.raises(InputError, match="holds no published run"):
        card.write(tmp_path, "none")

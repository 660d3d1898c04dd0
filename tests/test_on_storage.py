"""Inputs and what is published on S3-compatible storage: moto's server on loopback."""

import orjson
import pytest
from conftest import InProcess, digests
from storage import KEYS, a_store, client
from test_nights import alike, corpus, numbered, text  # noqa: F401 - a fixture

from cleanpipe.errors import CleanpipeError, InputError, OutputError
from cleanpipe.input import places
from cleanpipe.nights.incremental import Night, nothing_new
from cleanpipe.pace import silent
from cleanpipe.recipes.recipe_file import load
from cleanpipe.run import Work, all_steps, open_pool
from cleanpipe.storage import objects, publication
from cleanpipe.store import file_hash
from cleanpipe.verify import faults_of

pytest.importorskip("moto", reason="needs the extra s3, and moto")
pytest.importorskip("flask", reason="needs moto[server]")
BUCKET = "corpora"
PLACE = f"s3://{BUCKET}/clean"


@pytest.fixture(scope="module")
def storage():
    """A server for this module's tests, which find it by the environment."""
    with a_store(BUCKET) as environment:
        yield environment


@pytest.fixture(autouse=True)
def known(storage, monkeypatch):
    """Empty storage that the environment names, and nobody remembers another one."""
    for name, value in {**KEYS, **storage}.items():
        monkeypatch.setenv(name, value)
    for remembered in (places.storage, objects._client):
        remembered.cache_clear()
    s3 = client(storage)
    for bucket in (BUCKET, "forgets", "refuses"):
        for one in s3.list_objects_v2(Bucket=bucket).get("Contents", ()):
            s3.delete_object(Bucket=bucket, Key=one["Key"])
    return s3


def clean(recipe, output, **changes):
    given = {"path": str(output), **changes}
    known = recipe.model_copy(update={"output": recipe.output.model_copy(update=given)})
    return all_steps(Work(known, InProcess(), lambda *_: None))


@pytest.fixture
def recipe(sample_recipe):
    """That of `make demo`."""
    return load(sample_recipe)


def upload(s3, recipe):
    """The sample's input, as it is, on storage; the recipe that reads it there."""
    inputs = []
    for given in recipe.input:
        from pathlib import Path

        pattern = Path(given.path)
        folder = pattern if pattern.is_dir() else pattern.parent
        for path in (p for p in folder.rglob("*") if p.is_file()):
            s3.upload_file(str(path), BUCKET, f"raw/{path.relative_to(folder.parent)}")
        inputs.append(
            given.model_copy(
                update={"path": f"s3://{BUCKET}/raw/{pattern.relative_to(folder.parent)}"}
            )
        )
    return recipe.model_copy(update={"input": tuple(inputs)})


def test_input_on_storage_gives_the_bytes_of_input_on_disk(known, recipe, tmp_path):
    """sample_data/, every format of it, read by requests: byte-identical; both are published."""
    clean(recipe, tmp_path / "disk")
    clean(upload(known, recipe), tmp_path / "stored", publish_to=PLACE)
    assert digests(tmp_path / "stored") == digests(tmp_path / "disk")
    publication.fetch(PLACE, tmp_path / "fetched")
    assert digests(tmp_path / "fetched") == digests(tmp_path / "disk")
    assert faults_of(tmp_path / "fetched") == []


def test_nights_on_storage_add_what_those_on_a_disk_add(known, corpus, tmp_path, monkeypatch):  # noqa: F811
    """Three nights from and to storage: new, changed, put again as it was; byte-identical."""

    def deliver(name, texts):
        corpus.deliver(name, texts)
        known.upload_file(str(corpus.folder / f"{name}.parquet"), BUCKET, f"in/{name}.parquet")

    def from_storage():
        own = corpus.recipe()
        (given,), output = own.input, {"path": str(tmp_path / "stored"), "publish_to": PLACE}
        changes = {"input": (given.model_copy(update={"path": f"s3://{BUCKET}/in/*.parquet"}),)}
        changes["output"] = own.output.model_copy(update=output)
        return own.model_copy(update=changes)

    deliver("a", numbered("a", range(50)))
    corpus.night()
    all_steps(Night(from_storage(), InProcess(), silent))
    later = {"late": alike(7), "same": text(8), "fresh": text(500)}
    deliver("a", numbered("a", range(40)) | numbered("a", range(100, 110)))
    deliver("d", later)
    done = corpus.night()
    all_steps(Night(from_storage(), InProcess(), silent))
    assert done.stats["documents"]["kept"] == 11
    assert digests(tmp_path / "stored") == digests(corpus.output)
    known.upload_file(str(corpus.folder / "d.parquet"), BUCKET, "in/d.parquet")
    assert nothing_new(from_storage())
    publication.fetch(PLACE, tmp_path / "fetched")
    assert digests(tmp_path / "fetched") == digests(corpus.output)
    assert faults_of(tmp_path / "fetched") == []
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(places, "ATTEMPTS", 1)
    places.storage.cache_clear()
    with pytest.raises(InputError, match="cannot read"):  # and never: all files are gone
        nothing_new(from_storage())


def test_storage_that_fails_is_no_damaged_file(known, monkeypatch):
    """An object that goes, and a server that is away, end the run: nothing goes to quarantine."""
    known.put_object(Bucket=BUCKET, Key="a.jsonl", Body=b'{"text": "one"}\n')
    file = places.open_bytes(f"s3://{BUCKET}/a.jsonl")
    known.delete_object(Bucket=BUCKET, Key="a.jsonl")
    with pytest.raises(InputError, match=r"cannot read s3://corpora/a\.jsonl"):
        file.read()
    with pytest.raises(InputError, match="no such object"):
        places.status(f"s3://{BUCKET}/a.jsonl")
    with pytest.raises(InputError, match="cannot read"):
        places.open_arrow(f"s3://{BUCKET}/a.jsonl")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(places, "ATTEMPTS", 1)
    places.storage.cache_clear()
    with pytest.raises(InputError, match=r"at http://127\.0\.0\.1:9"):
        places.stored_files(f"s3://{BUCKET}/x", places.re.compile(r"\*"))


@pytest.fixture
def published(tmp_path):
    """A small folder that publishes one part, as a run leaves it."""

    def make(name: str, text: bytes):
        from cleanpipe import store

        output = tmp_path / name
        part = store.write_file(output / "data" / "0001" / "part", lambda file: file.write(text))
        store.write_json(output / "_cleanpipe" / "seed", 7)
        parts = [{**part, "path": "data/0001/part", "rows": 1}]
        manifest = {"number": 1, "run": "0001", "parts": parts, "books": []}
        store.publish(output / "_cleanpipe", manifest)
        return output

    return make


def test_what_is_there_is_sent_once_and_never_overwritten(known, published):
    """A push again sends nothing; another corpus at the same place is refused, whole."""
    mine, yours = published("mine", b"mine"), published("yours", b"yours")
    assert publication.push(mine, PLACE)["files"] == 3
    assert publication.push(mine, PLACE)["files"] == 0
    head = known.get_object(Bucket=BUCKET, Key="clean/_cleanpipe/HEAD.json")["Body"].read()
    with pytest.raises(OutputError, match="does not follow"):
        publication.push(yours, PLACE)
    assert known.get_object(Bucket=BUCKET, Key="clean/data/0001/part")["Body"].read() == b"mine"
    assert known.get_object(Bucket=BUCKET, Key="clean/_cleanpipe/HEAD.json")["Body"].read() == head


def test_a_rollback_is_published_like_a_run(published):
    """HEAD.json is put that points back; the later run's objects stay for whoever reads them."""
    from cleanpipe import store

    output = published("mine", b"mine")
    control = output / "_cleanpipe"
    first = store.current_manifest(output)
    store.publish(control, {**first, "number": 2})
    publication.push(output, PLACE)
    store.point_back(control, 1)
    publication.push(output, PLACE)
    head = orjson.loads(objects.read(f"{PLACE}/_cleanpipe/HEAD.json")[0])
    assert head == {"format": 1, "manifest": "manifest-1.json", "last": 2}
    assert objects.read(f"{PLACE}/_cleanpipe/manifest-2.json") is not None


def test_of_two_who_publish_at_once_one_is_refused(published, monkeypatch):
    """Whoever comes second finds another part there, or another HEAD than it read."""
    mine, yours = published("mine", b"mine"), published("yours", b"yours")
    with monkeypatch.context() as early:  # what another one publishes comes after the look at HEAD
        early.setattr(objects, "read", lambda _: None)
        publication.push(mine, PLACE)
        with pytest.raises(OutputError, match="somebody else publishes to this place"):
            publication.push(yours, PLACE)
    head = f"{PLACE}/_cleanpipe/HEAD.json"
    _, version = objects.read(head)
    objects.swap(head, b"theirs", version, True)
    objects.swap(head, b"theirs", version, True)  # tried again after an answer that was lost
    with pytest.raises(OutputError, match="changed by somebody else"):
        objects.swap(head, b"mine", version, True)
    assert objects.read(head)[0] == b"theirs"


@pytest.mark.parametrize("bucket", ["forgets", "refuses"])
def test_storage_without_conditions_is_refused_or_looked_at_first(known, published, bucket):
    """It is noticed, and only who says that nobody else publishes there may publish.

    Then a look at what is there stands in place of the condition: another corpus is refused.
    """
    mine, yours = published("mine", b"mine"), published("yours", b"yours")
    place = f"s3://{bucket}/clean"
    with pytest.raises(OutputError, match=r"does not honour conditional puts.*publish_alone"):
        publication.push(mine, place)
    (left,) = known.list_objects_v2(Bucket=bucket).get("Contents", ({"Key": "none"},))
    assert left["Key"] in {"clean/_cleanpipe/conditions", "none"}
    assert publication.push(mine, place, alone=True)["files"] == 3
    assert publication.push(mine, place, alone=True)["files"] == 0
    with pytest.raises(OutputError, match="does not follow"):
        publication.push(yours, place, alone=True)
    part = f"{place}/data/0001/part"
    with pytest.raises(OutputError, match="somebody else publishes to this place"):
        objects.put_new(yours / "data/0001/part", part, file_hash(yours / "data/0001/part"), False)
    head = f"{place}/_cleanpipe/HEAD.json"
    points, version = objects.read(head)
    objects.swap(head, points, '"older"', False)  # tried again after an answer that was lost
    with pytest.raises(OutputError, match="changed by somebody else"):
        objects.swap(head, b"yours", '"older"', False)
    with pytest.raises(OutputError, match="changed by somebody else"):
        objects.swap(head, b"yours", None, False)
    assert objects.read(head) == (points, version)


def test_storage_without_conditions_is_noticed_before_the_work(recipe, tmp_path):
    """A run that could not publish in the end does not begin; storage with them needs no word."""
    for name in ("forgets", "refuses"):
        given = {"path": str(tmp_path / name), "publish_to": f"s3://{name}/clean"}
        over = recipe.model_copy(update={"output": recipe.output.model_copy(update=given)})
        with pytest.raises(OutputError, match="Nothing was published"), open_pool(over, 1, silent):
            pass
    for alone in (False, True):
        assert publication.keeps_apart(PLACE, alone=alone)


def test_a_push_that_broke_off_is_invisible_and_goes_on(published, monkeypatch):
    """Storage that fails at any put leaves readers what they had; the next push sends the rest."""
    output = published("mine", b"mine")
    put = objects.put_new
    for most in range(3):
        sent = []

        def failing(*given, most=most, sent=sent):
            if len(sent) >= most:
                raise OutputError("storage is away")
            sent.append(given)
            return put(*given)

        with monkeypatch.context() as away:
            away.setattr(objects, "put_new", failing)
            with pytest.raises(OutputError, match="away"):
                publication.push(output, PLACE)
        assert objects.read(f"{PLACE}/_cleanpipe/HEAD.json") is None
    assert publication.push(output, PLACE)["files"] == 1
    assert orjson.loads(objects.read(f"{PLACE}/_cleanpipe/HEAD.json")[0])


def test_a_manifest_from_storage_writes_nothing_outside(known, published, tmp_path):
    """Paths that leave the folder, and bytes that are not what the manifest says, are refused."""
    publication.push(published("mine", b"mine"), PLACE)
    known.put_object(Bucket=BUCKET, Key="clean/data/0001/part", Body=b"other")
    with pytest.raises(InputError, match="is not what its manifest says"):
        publication.fetch(PLACE, tmp_path / "a")
    name = "clean/_cleanpipe/manifest-1.json"
    manifest = orjson.loads(known.get_object(Bucket=BUCKET, Key=name)["Body"].read())
    for path in ("../evil", "/etc/evil", "data/../../evil", "elsewhere/x"):
        manifest["parts"][0]["path"] = path
        known.put_object(Bucket=BUCKET, Key=name, Body=orjson.dumps(manifest))
        with pytest.raises(CleanpipeError, match="no output holds"):
            publication.fetch(PLACE, tmp_path / "b")
    assert not (tmp_path / "evil").exists()

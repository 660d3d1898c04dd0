"""Real servers of S3's requests: read from and published there, it is what a disk holds."""

import pytest
from conftest import digests
from servers import has_rclone, has_swift, rclone, swift
from storage import client
from test_on_storage import PLACE, clean, upload

from cleanpipe.errors import OutputError
from cleanpipe.input import places
from cleanpipe.recipes.recipe_file import load
from cleanpipe.storage import objects, publication
from cleanpipe.verify import faults_of

boto3 = pytest.importorskip("boto3", reason="needs the extra s3")
pytestmark = pytest.mark.proof
SERVERS = {"swift": (has_swift, swift), "rclone": (has_rclone, rclone)}


@pytest.fixture(params=SERVERS)
def server(request, tmp_path, monkeypatch):
    """A server of this kind, which the environment names."""
    is_there, start = SERVERS[request.param]
    if not is_there():
        pytest.skip(f"no {request.param} server is installed here")
    with start(tmp_path / request.param) as known:
        for name, value in known.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # which remembers keys
        for remembered in (places.storage, objects._client):
            remembered.cache_clear()
        yield known


def test_a_server_without_conditions_gives_and_keeps_the_bytes_of_a_disk(
    server, sample_recipe, tmp_path
):
    """Input and publication; refused but for who says that nobody else publishes; fetched."""
    recipe = load(sample_recipe)
    clean(recipe, tmp_path / "disk")
    stored = upload(client(server), recipe)
    with pytest.raises(OutputError, match="does not honour conditional puts"):
        clean(stored, tmp_path / "stored", publish_to=PLACE)
    clean(stored, tmp_path / "stored", publish_to=PLACE, publish_alone=True)
    assert digests(tmp_path / "stored") == digests(tmp_path / "disk")
    assert publication.push(tmp_path / "stored", PLACE, alone=True)["files"] == 0
    publication.fetch(PLACE, tmp_path / "fetched")
    assert digests(tmp_path / "fetched") == digests(tmp_path / "disk")
    assert faults_of(tmp_path / "fetched") == []
    clean(recipe.model_copy(update={"seed": 8}), tmp_path / "other")
    with pytest.raises(OutputError, match="does not follow"):
        publication.push(tmp_path / "other", PLACE, alone=True)

"""What several tests share: the corpora beside the checkout, small corpora, a run's bytes."""

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import hypothesis
import orjson
import pytest

from cleanpipe.store import current_manifest
from cleanpipe.warm import Here

# how long one example takes says nothing: a first one loads kernels, others share the processors
hypothesis.settings.register_profile("cleanpipe", deadline=None)
hypothesis.settings.load_profile("cleanpipe")
ROOT = Path(__file__).parents[1]
CORPORA = ROOT.parent / "shared" / "corpora"
SAME_BYTES = ("measures", "verdicts", "pairs", "copies", "cuts", "evaluations", "quarantine")


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The development corpora beside the checkout; tests on them are skipped where they are not."""
    if not CORPORA.is_dir():
        pytest.skip("the development corpora are not beside this checkout")
    return CORPORA


@pytest.fixture(scope="session")
def sample_recipe() -> Path:
    """The recipe that `make demo` runs."""
    return ROOT / "configs" / "sample.yaml"


def write_recipe_into(folder: Path, name: str = "recipe.yaml", **sections: object) -> Path:
    """Write a recipe of the given sections into a folder; gives its path."""
    path = folder / name
    known = {"version": 1, "seed": 7, "output": {"path": "out"}, **sections}
    path.write_bytes(orjson.dumps(known))  # JSON is YAML
    return path


@pytest.fixture
def write_recipe(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a recipe of the given sections and gives its path."""
    return partial(write_recipe_into, tmp_path)


@pytest.fixture
def write(tmp_path, monkeypatch):
    """A function that writes recipe.yaml into the current folder and gives its name."""
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> str:
        Path("recipe.yaml").write_text(text, encoding="utf-8")
        return "recipe.yaml"

    return write


def digests(output: Path) -> dict[str, str]:
    """The bytes that must not depend on workers, engine, order or kills, each as a hash."""
    manifest = current_manifest(output)
    assert manifest is not None, "nothing was published"
    run = output / "_cleanpipe" / "runs" / manifest["run"]
    parts = (output / "data" / manifest["run"]).glob("*")
    files = {f"data/{path.name}": path for path in parts}
    for kind in SAME_BYTES:
        files |= {f"{kind}/{path.name}": path for path in (run / kind).glob("*")}
    files["examples.json"] = run / "examples.json"
    found = {
        name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in sorted(files.items())
    }
    stats = orjson.loads((run / "stats.json").read_bytes())
    del stats["drift"]  # compares with what the folder had published before, if anything
    return found | {"stats.json": hashlib.sha256(orjson.dumps(stats)).hexdigest()}


class InProcess(Here):
    """A pool without processes, for tests that run the pipeline many times."""

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers

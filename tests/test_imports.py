"""The architecture as checks: who imports whom, how long a file is, what it may be called."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src" / "cleanpipe").rglob("*.py"))
FLOWS = sorted((ROOT / "flows").glob("*.py"))
STAGES = {"normalize", "filter", "dedup", "balance", "augment", "stats"}
# What each module may import of ours; a name stands for everything below it.
ALLOWED = {
    **{
        stage: {"errors", "kernels", "nearest", "url_forms", "urls", "where", "ranking"}
        for stage in STAGES
    },
    "normalize": {
        *("draft", "fixes", "kernels", "line_rules", "patterns", "placeholders", "repair"),
        *("plain", "white_space"),
    },
    "augment": {"external", "infill", "kernels", "likeness", "rearrange", "rewording"},
    "external": set(),
    "infill": {"kernels", "rearrange"},
    "likeness": {"kernels"},
    "rewording": {"rearrange"},
    "stats": {"diversity", "histograms", "kernels"},
    "histograms": {"kernels"},
    "diversity": {"kernels"},
    "rearrange": {"kernels"},
    "balance": {"allocation", "grouping", "nearest"},
    "grouping": {"allocation", "repetition"},
    "allocation": set(),
    "repetition": set(),
    "ranking": {"errors"},
    "fixes": {"line_rules", "nearest"},
    "patterns": {"draft", "invisible", "kernels", "markup", "placeholders"},
    "placeholders": {"draft", "kernels"},
    "repair": {"draft", "invisible", "kernels", "mojibake"},
    "draft": set(),
    "invisible": {"kernels"},
    "markup": set(),
    "corpus": {
        "batch",
        "bytestream",
        "columns",
        "cutting",
        "errors",
        "globbing",
        "lines",
        "places",
        "tables",
    },
    "places": {"errors"},
    "readers": {
        "batch",
        "bytestream",
        "columns",
        "corpus",
        "delimited",
        "draw",
        "errors",
        "jsonl",
        "places",
        "tables",
    },
    "draw": {"kernels"},
    "intervals": set(),
    "store": {"errors", "plain"},
    "line_rules": {"draft", "kernels"},
    "plain": set(),
    "drift": {"histograms"},
    "gates": {"drift", "filter", "nearest", "urls"},
    "urls": {"errors", "nearest", "url_lists", "url_parts"},
    "url_lists": {"bytestream", "errors", "url_parts"},
    "url_parts": set(),
    "url_forms": {"url_parts"},
    "report": {
        *("corpus", "decide", "deduplicate", "documents", "drift", "errors", "fixes"),
        *("histograms", "recipe", "recipe_file", "reread", "stability", "stats", "store"),
    },
    "language": {"fasttext_models"},
    "tokenizer": {"errors"},
    "classifier": {"errors", "fasttext_models", "onnx_models"},
    "onnx_models": {"errors"},
    "fasttext_models": {"errors", "fasttext_format"},
    "fasttext_format": set(),
    "quality": {"classifier", "corpus", "errors", "fasttext_models", "kernels", "normalize"}
    | {"readers", "store"},
    "custom": {"errors"},
    "evaluations": {
        *("corpus", "errors", "filter", "kernels", "line_rules", "normalize", "plain", "readers"),
        "store",
    },
    "contamination": {"evaluations", "store"},
    "cuts": {"filter", "kernels"},
    "repeats": {
        *("bands", "corpus", "cuts", "deduplicate", "documents", "kernels", "measure", "readers"),
        *("recipe", "store"),
    },
    "pool": {"errors"},
    "serving": {"errors", "identity", "pool", "recipe"},
}


AS_ONE = {"export", "flows", "kernels", "presets", "report", "stability"}
"""Packages that others import as one thing; of all others it is a module that is imported."""


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT / "src" / "cleanpipe").with_suffix("").parts
    return parts[0] if parts[0] in {"kernels", "report"} else parts[-1]


def is_package(name: str) -> bool:
    return (ROOT / "src").joinpath(*name.split(".")).is_dir()


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from cleanpipe.input import corpus` imports a module; from a module come its names
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names if is_package(node.module) else {node.module}
    return found


def ours(path: Path) -> set[str]:
    names = [name.split(".")[1:] for name in imports_of(path) if name.startswith("cleanpipe.")]
    return {name[0] if name[0] in AS_ONE else name[-1] for name in names}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_modules_import_only_what_stands_below_them(path):
    """A stage knows kernels and no other stage; stores and readers know nothing above them."""
    module = module_of(path)
    if module in ALLOWED:
        assert ours(path) - {module} <= ALLOWED[module]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_kernels_know_arrays_only(path):
    """Kernels import numpy, numba, llvmlite and the standard library: no Polars, no recipes."""
    if "kernels" in path.parts:
        assert ours(path) <= {"kernels"}
        assert not {name.split(".")[0] for name in imports_of(path)} & {
            "polars",
            "pyarrow",
            "pydantic",
            "prefect",
        }


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_prefect_and_flows_stay_in_flows(path):
    """Prefect is imported in flows/ alone; only the command line imports flows."""
    assert not any(name.split(".")[0] == "prefect" for name in imports_of(path))
    if path.name != "cli.py":
        assert "flows" not in ours(path)


def test_readers_and_deciding_modules_do_not_know_the_engine():
    """Nothing below imports run; report and stats never do."""
    above = {path.stem for path in SOURCES if "run" in ours(path)}
    assert above <= {"cli", "incremental", "nightly", "plan", "__init__"}


@pytest.mark.parametrize("path", [*SOURCES, *FLOWS], ids=lambda path: path.stem)
def test_files_are_short_and_say_what_they_hold(path):
    """No file over 400 lines, no flow over 100, no name that could hold anything."""
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= (100 if path in FLOWS else 400)
    assert path.stem not in {"utils", "common", "helpers", "base", "misc"}

"""The probe as a Prefect flow, on a real embedded server."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson
import pytest

pytest.importorskip("torch", reason="the extra probe is not installed")
pytest.importorskip("tokenizers", reason="the extra probe is not installed")

PROBE = """
import json, sys
from dataclasses import replace
from cleanpipe.flows.stability import stability
from cleanpipe.stability.probe import proxies, twins
from cleanpipe.stability.probe.model import Shape

plan = proxies.Plan(shape=Shape(vocabulary=300, width=16, layers=2, heads=2, length=32), batch=8)
twins.FORMS["tiny"] = replace(
    twins.QUICK, plan=plan, seeds=2, school=2, checkpoints=(2,), kinds=("noise_5",), after=4
)
print(json.dumps(stability(*sys.argv[1:], form="tiny")))
"""


def test_the_flow_leaves_what_the_verb_leaves(tmp_path):
    """The flow trains the twins and gives the path of probe.json, which compares every kind."""
    chance = np.random.default_rng(0)
    words = ["red", "green", "blue", "ten", "cat", "dog", "sat", "on"]
    texts = [" ".join(chance.choice(words, 130)) for _ in range(200)]
    path = tmp_path / "clean.jsonl"
    path.write_bytes(b"".join(orjson.dumps({"text": text}) + b"\n" for text in texts))
    known = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(path), str(path), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        env={**known, "PREFECT_HOME": str(tmp_path / "home")},
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(Path(json.loads(done.stdout)).read_bytes())
    assert result["settings"][0]["kinds"].keys() == {
        *("placebo_again", "noise_5", "noise_5, spread")
    }

"""Attribution in a log of ten million steps with the digests of its batches: 60 s and 2 GiB."""

import json
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

STEPS = 10_000_000
LENGTH = 16
DOCUMENT = 160
"""Tokens of a document: it stands in ten steps, or eleven."""
EVENTS = 300
LINE = '{"step":%d,"digest":"%s","spans":[[0,%d,16]]}'
MEASURED = """
import json, resource, sys
from pathlib import Path
import polars as pl
from cleanpipe.stability.attribution import trained_order
from cleanpipe.stability.attribution.answer import events_of, one_log
from cleanpipe.stability.attribution.attribution import attribute
from cleanpipe.stability.attribution.naming import candidates
from cleanpipe.stability.attribution.question import Question
from cleanpipe.stability.spikes.events import Bounds
folder = Path(sys.argv[1])
log = one_log(folder / "main.log")
steps = events_of(log, Bounds())["step"].to_numpy()
table = log.steps.select("step", "loss", "lr")
del log  # as the verb does
export = trained_order.export_of(folder / "tokens" / "steps.jsonl", None)
batches, proof, _ = trained_order.read(folder / "tokens" / "steps.jsonl", export, table)
measured = folder / "measures.parquet"
found = attribute(steps, table, batches, pl.read_parquet(measured), Question())
used = resource.getrusage(resource.RUSAGE_SELF)
held = next(x for x in open("/proc/self/status") if x.startswith("VmHWM"))  # not the parent's, too
first = [event["candidates"][0]["id"] for event in candidates(found)]
told = {"verified": proof.verified, "steps": proof.steps, "events": len(steps), "first": first,
    "measure": found.findings()[0]["measure"], "clean": found.clean,
    "asked": len(found.asked.sets.cases), "seconds": used.ru_utime + used.ru_stime,
    "largest": int(held.split()[1])}
print(json.dumps(told))
"""

pytestmark = pytest.mark.proof


def write_order(folder, planted):
    """An export, its step log, the log of losses, and measures of which `dirt` is planted."""
    from exported import made

    from cleanpipe.export.exposure import digests, spans

    chance = np.random.default_rng(0)
    documents = STEPS * LENGTH // DOCUMENT
    export = made(folder / "tokens", np.full(documents, DOCUMENT), file_tokens=10**9)
    for low in range(0, STEPS, 1_000_000):
        step = np.arange(low, low + 1_000_000)
        digest = digests(export, spans(step, 0, step * LENGTH, LENGTH), LENGTH)["digest"]
        table = pl.DataFrame(
            {"s": step, "d": [f"{one:016x}" for one in digest], "a": step * LENGTH}
        )
        lines = [LINE % row for row in table.iter_rows()]
        with (folder / "tokens" / "steps.jsonl").open("ab") as file:
            file.write(("\n".join(lines) + "\n").encode())
        loss = 2 + 6 * (step + 1.0) ** -0.2 + chance.normal(0, 0.03, len(step))
        norm = np.exp(chance.normal(-1, 0.1, len(step)))
        norm[np.isin(step, planted)] *= 100
        with (folder / "main.log").open("ab") as file:
            table = pl.DataFrame({"s": step, "l": loss.round(4), "n": norm.round(2)})
            line = pl.format("s:{} trl:{} lr:0.000600 norm:{}", "s", "l", "n")
            file.write(("\n".join(table.select(line).to_series()) + "\n").encode())
    dirt = chance.normal(0, 1, documents)
    dirt[planted * LENGTH // DOCUMENT] += 8
    others = {f"measure {n}": chance.normal(0, 1, documents) for n in range(30)}
    ids = [f"d{n}" for n in range(documents)]
    pl.DataFrame({"id": ids, "dirt": dirt, **others}).write_parquet(folder / "measures.parquet")


def test_attribution_of_ten_million_steps(tmp_path):
    """The order is verified step by step, and the planted measure and documents are named."""
    chance = np.random.default_rng(1)
    planted = np.sort(chance.choice(np.arange(10_000, STEPS - 10_000), EVENTS, replace=False))
    write_order(tmp_path, planted)
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(tmp_path)], capture_output=True, check=False, text=True
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    sys.stderr.write(f"{told['seconds']:.1f} s, {told['largest'] / (1 << 20):.2f} GiB\n")
    assert told["verified"]
    assert told["steps"] == STEPS
    assert told["events"] == EVENTS
    assert told["asked"] == 100
    assert told["measure"] == "dirt"
    assert told["clean"]
    names = {f"d{step * LENGTH // DOCUMENT}" for step in planted}
    assert sum(name in names for name in told["first"]) >= 0.95 * len(told["first"]) > 0
    assert told["seconds"] < 60
    assert told["largest"] < 2.1 * (1 << 20)  # KiB

"""Parts: what each holds, in which order, and how large it is."""

from itertools import accumulate, pairwise

import polars as pl
import pytest

from cleanpipe import parts, scratch
from cleanpipe.run import run
from cleanpipe.write import plan_path


def slow_parts(rows, shard_size):
    """Documents as (place, bytes, copies), cut one by one: originals first, copies later."""
    found = []
    for copies in ([0], range(1, 1 + max((c for *_, c in rows), default=0))):
        written = [(place, size, copy) for copy in copies for place, size, c in rows if c > copy]
        ends = list(accumulate((size for _, size, _ in written), initial=0))
        known = {}
        for (place, _, copy), before in zip(written, ends, strict=False):
            known.setdefault(before // shard_size, []).append((*place, copy))
        found += known.values()
    return found


@pytest.mark.parametrize("shard_size", [300, 2_000, 10**6])
def test_parts_are_those_of_a_slow_program(monkeypatch, write_recipe, tmp_path, shard_size):
    """Block after block, round after round of copies: the parts of one pass over all documents."""
    text = "Sein oder nicht sein, das ist hier die Frage, die alle kennen. "
    langs = ["en", "en", "en", "cy"]
    lines = [{"text": text * (i % 7 + 1) + str(i), "lang": langs[i % 4]} for i in range(120)]
    for number in range(3):
        frame = pl.DataFrame(lines[number * 40 : number * 40 + 40])
        frame.write_ndjson(tmp_path / f"{number}.jsonl")
    planned = {}

    def spy(decisions, plan=parts.plan):
        count = plan(decisions)
        folder = decisions.documents.folder
        planned["parts"] = [
            pl.DataFrame(scratch.load_table(plan_path(folder, n))) for n in range(count)
        ]
        table = decisions.documents.columns(("shard", "row", "bytes"))
        places, copies = list(table.select("shard", "row").rows()), decisions.copies.tolist()
        planned["rows"] = list(zip(places, table["bytes"].to_list(), copies, strict=True))
        return count

    monkeypatch.setattr(parts, "plan", spy)
    recipe = write_recipe(
        input={"path": str(tmp_path / "*.jsonl")},
        measure={"language": False},
        balance={"by": "lang", "max_epochs": 3},
        output={"path": str(tmp_path / "out"), "shard_size": shard_size},
    )
    run(recipe, workers=1)
    found = [list(part.select("shard", "row", "copy").rows()) for part in planned["parts"]]
    assert found == slow_parts(planned["rows"], shard_size)
    assert sum(copies for *_, copies in planned["rows"]) > 120
    for one, other in pairwise(found):
        assert one[-1][2] <= other[0][2]

"""Thirty nights: new, changed and removed files, gates, rollbacks, kills, a late duplicate."""

import random
import sys
import time
from itertools import pairwise

import pytest
from conftest import InProcess
from power import Disk, PowerGone
from test_nights import Corpus, alike, numbered, text, verdict

from cleanpipe import store
from cleanpipe.errors import GateError
from cleanpipe.nights import nights
from cleanpipe.nights.incremental import Night
from cleanpipe.run import all_steps, silent
from cleanpipe.verify import faults_of

pytestmark = [
    pytest.mark.proof,
    # where a night is killed, folders that are being listed stay open
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
EACH = 200
"""Documents that a night brings."""


def disk_of(corpus):
    return sum(path.stat().st_size for path in corpus.output.rglob("*") if path.is_file())


def deliver(corpus, night, chance):
    """A night's files; the ids that are new in them, each of which should be kept."""
    own = numbered(f"n{night}-", range(night * 1000, night * 1000 + EACH))
    fresh = list(own)
    if night > 3:  # repeats of an earlier night, equal and similar
        old = chance.randrange(1, night - 1) * 1000
        own |= {f"late{night}-{n}": (text if n % 2 else alike)(old + n) for n in range(10)}
    corpus.deliver(f"night{night:02d}", own)
    if night % 7 == 0:  # a file of last week has ten documents more
        then = night - 5
        before = numbered(f"n{then}-", range(then * 1000, then * 1000 + EACH))
        more = numbered(f"m{night}-", range(night * 1000 + 500, night * 1000 + 510))
        corpus.deliver(f"night{then:02d}", before | more)
        fresh = [*more, *fresh]
    if night % 9 == 0:
        (corpus.folder / f"night{night - 6:02d}.parquet").unlink()
    return fresh


def what_goes_wrong(corpus, night, chance):
    """A gate that fails, a night that is killed twice: readers see what they saw."""
    before = corpus.published() if night > 1 else []
    if night % 6 == 0:
        with pytest.raises(GateError):
            corpus.night(gates={"kept_documents": {"low": 10**9}})
        assert corpus.published() == before
    for _ in range(2 if night % 8 == 0 else 0):
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(patch, chance.randrange(1, 40), keeps=True)
            with pytest.raises(PowerGone):
                all_steps(Night(corpus.recipe(), InProcess(), silent))
            assert disk.off
        assert corpus.published() == before
        store.remove_leftovers(corpus.output)


def timed_night(corpus, night):
    """The night, and its seconds; every tenth is taken back in the morning, and made again."""
    before = corpus.published() if night > 1 else []
    started = time.process_time()
    done = corpus.night()
    seconds = time.process_time() - started
    if night % 10 == 0:
        nights.rollback(corpus.output)
        assert corpus.published() == before
        done = corpus.night()
    return done, seconds


def test_thirty_nights_lose_and_double_nothing(tmp_path, write_recipe, capsys):
    """What readers see each morning is what a list kept by hand says; disk and time grow evenly."""
    corpus, chance = Corpus(tmp_path, write_recipe), random.Random(5)
    expected, rows = [], []
    for night in range(1, 31):
        fresh = deliver(corpus, night, chance)
        what_goes_wrong(corpus, night, chance)
        done, seconds = timed_night(corpus, night)
        expected += fresh
        assert sorted(corpus.published()) == sorted(expected), night
        assert done.stats["documents"]["kept"] == len(fresh)
        if night > 3:
            assert verdict(done, f"late{night}-3")["duplicate_run"] < done.folder.name
        nights.gc(corpus.output, keep=2)
        rows.append((night, seconds, disk_of(corpus)))
    corpus.deliver("last", {"the-first-again": alike(1007), "new": text(99_000)})
    last = verdict(corpus.night(), "the-first-again")
    assert (last["duplicate_of"], last["duplicate_run"]) == ("n1-1007", "0001")
    assert faults_of(corpus.output) == []
    with capsys.disabled():
        sys.stdout.write("\n| night | seconds of one core | MB on disk |\n|---|---|---|\n")
        for night, seconds, size in rows:
            if night < 3 or night % 5 == 0:
                sys.stdout.write(f"| {night} | {seconds:.2f} | {size / 1e6:.2f} |\n")
    early, late = (sum(row[1] for row in rows[at : at + 6]) for at in (3, 23))
    assert late < 3 * early, "a night's cost is set by what is new"
    growth = [later[2] - sooner[2] for sooner, later in pairwise(rows[4:])]
    assert max(growth[12:]) < 3 * max(growth[:12])

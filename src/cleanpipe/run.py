"""The engine: passes over blocks and parts, through a `map` that the caller gives.

`Work` is a run under way. Each of its steps leaves files and receipts, so that a killed run goes
on where it was: what has a receipt is not done again, and what has none is done as if for the
first time. Everything between the passes is decided again from the tables, in seconds.
"""

import multiprocessing
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from cleanpipe import ledger, outcome, parts, read_errors, store, write
from cleanpipe.decide import Decisions
from cleanpipe.documents import Documents
from cleanpipe.duplicates.deduplicate import Deduplication, Map
from cleanpipe.duplicates.repeats import Cutting
from cleanpipe.errors import (
    CleanpipeError,
    GateError,
    InputError,
    QuarantineError,
    RecipeError,
    WorkerDiedError,
)
from cleanpipe.identity import choose_run, draw_seed
from cleanpipe.input import corpus, intake
from cleanpipe.machines import machines
from cleanpipe.measures import contamination, rescue
from cleanpipe.measures.measure import block_name, carried_schema, kept_columns
from cleanpipe.measures.measuring import broken
from cleanpipe.outcome import Run
from cleanpipe.pace import Pace, Tell, silent
from cleanpipe.pool import Pool
from cleanpipe.recipes.recipe import Recipe
from cleanpipe.recipes.recipe_file import load
from cleanpipe.report import examples, rendering
from cleanpipe.rules import gates
from cleanpipe.stats import counting
from cleanpipe.storage.publication import push, ready
from cleanpipe.warm import compile_cuts, compile_evaluations, compile_kernels, compile_line_rules

WRITE = "augment and write"
"""The step of pass 2, as it is told and as timing.json has it."""
Step = Callable[[int], store.Record]


def run(recipe: Recipe | Path | str, *, workers: int | None = None, tell: Tell = silent) -> Run:
    """Clean a corpus as `recipe` says, in worker processes of this machine.

    Takes a `Recipe` or the path of one; `workers` is the number of processes (default: one a
    processor) and changes nothing in the output. Raises a `CleanpipeError` that says what is
    wrong; what was published before then still stands.

    >>> cleaned = run("configs/sample.yaml")  # doctest: +SKIP
    >>> cleaned.stats["documents"]["kept"]  # doctest: +SKIP
    290
    """
    known = recipe if isinstance(recipe, Recipe) else load(Path(recipe))
    with open_work(known, workers=workers, tell=tell) as work:
        return all_steps(work)


def all_steps(work: "Work") -> Run:
    """The steps of a run, in the order of its recipe; flows/clean.py has the same as tasks."""
    work.cut(work.over)
    work.over("normalize and measure", work.measure, work.blocks_to_measure())
    work.measured()
    for stage in work.recipe.order:
        work.decide(stage, work.over)
    work.plan_parts()
    work.over(WRITE, work.write, work.parts_to_write())
    work.count()
    work.draw_report()
    return work.publish()


@contextmanager
def open_work(
    recipe: Recipe,
    *,
    workers: int | None = None,
    tell: Tell = silent,
    begin: Callable[[Recipe, machines.Calls, Tell], "Work"] | None = None,
) -> Iterator["Work"]:
    """Lock the output folder, start the workers, look at the inputs; end all of it afterwards."""
    with open_pool(recipe, workers, tell) as pool:
        yield (begin or Work)(recipe, pool, tell)


@contextmanager
def open_pool(recipe: Recipe, workers: int | None, tell: Tell) -> Iterator[machines.Calls]:
    """Lock the output folder and start the workers; end both afterwards."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise CleanpipeError(
            'a run was begun while a worker started: call it under if __name__ == "__main__":'
        )
    if workers is not None and workers < 1:
        raise RecipeError(f"workers is {workers}: expected 1 or more, or none for one a processor")
    output = Path(recipe.output.path)
    lock = store.take_lock(output / "_cleanpipe" / "lock")
    try:
        store.current_manifest(output)  # refuses a folder of a later version
        ready(recipe.output.publish_to, alone=recipe.output.publish_alone)  # hours before
        pool = machines.connect(recipe, compile_for) or Pool(workers or os.cpu_count() or 1, lock)
        try:
            store.remove_leftovers(output)
            compile_for(recipe, lambda message: tell(message, 0, 1))
            with read_errors.named(output):
                yield pool
        finally:
            pool.close()
    finally:
        os.close(lock)


def compile_for(recipe: Recipe, say: Callable[[str], None]) -> None:
    """Compile what a run of this recipe needs and this machine has not compiled yet."""
    compile_kernels(lambda known, here: all_steps(Work(known, here, silent)), say)
    compile_line_rules(recipe.normalize.lines, say)
    compile_evaluations(recipe.measure.evaluations, say)
    compile_cuts(recipe.cuts, say)


class Work:
    """A run under way in an output folder that this process has locked."""

    after: int | None = None  # the manifest that a night adds to

    def __init__(self, recipe: Recipe, pool: machines.Calls, tell: Tell) -> None:
        self.pool, self.tell = pool, tell
        self.output = Path(recipe.output.path)
        self.control = self.output / "_cleanpipe"
        self.seconds: dict[str, float] = {}
        self.recipe = recipe
        self.shards = self.find()
        self._check_models()
        looked_for = self._check_evaluations()
        looks = self.over("look at the shards", self.look, range(len(self.shards)))
        self.indexes = [look["index"] for look in looks]
        self.blocks = corpus.blocks(self.indexes)
        self._check_columns()
        self.seed = draw_seed(self.control, recipe.seed)
        self.recipe = recipe.model_copy(update={"seed": self.seed})
        self.folder = choose_run(self.control, self.recipe, self.shards, self.indexes, self.after)
        if looked_for:
            store.write_json(self.folder / contamination.LOOKED_FOR, looked_for)
        self.lists = store.read_json(self.folder / "identity.json")["lists"]
        self.parts = 0
        self.duplicates: store.Record = {"compared": 0, "uncompared": 0}
        self.statistics: store.Record = {}
        self.picks: list[examples.Pick] = []

    def over(self, name: str, step: Step, numbers: Sequence[int]) -> list[store.Record]:
        """The local `map`: threads that each wait for one worker at a time."""
        started = time.monotonic()
        pace = Pace(self.decisions.kept_share() if name == WRITE else None)
        results = []
        with ThreadPoolExecutor(self.pool.workers) as threads:
            futures = [threads.submit(step, number) for number in numbers]
            try:
                for done, future in enumerate(futures, 1):
                    results.append(future.result())
                    self.tell(name, done, len(numbers), pace.after(results[-1]))
            except BaseException:
                self.pool.close()  # the others' work is stopped, not waited for
                threads.shutdown(wait=False, cancel_futures=True)
                raise
        self.seconds[name] = time.monotonic() - started
        return results

    def find(self) -> tuple[corpus.Shard, ...]:
        """The shards that are read."""
        return intake.find_shards(self.recipe)

    def look(self, number: int) -> store.Record:
        """Hash and cut one shard, in a worker."""
        shard = self.shards[number]
        return {"index": self.pool.call(corpus.index_shard, shard, self.recipe.input[shard.input])}

    def _check_models(self) -> None:
        """Try all models in a worker: a damaged one may end its process, and is named."""
        try:
            self.pool.call(self.recipe.measure.check)
        except WorkerDiedError:
            for path, alone in self.recipe.measure.alone().items():
                try:
                    self.pool.call(alone.check)
                except WorkerDiedError:
                    raise broken(path, "whatever process loads it ends") from None
            raise

    def _check_evaluations(self) -> store.Record:
        """Read the evaluation sets in a worker; what is looked for."""
        evaluations = self.recipe.measure.evaluations
        if evaluations is None:
            return {}
        looked_for, problems = self.pool.call(evaluations.describe, self.recipe.normalize, 0)
        self.recipe.refuse(problems)
        return looked_for  # type: ignore[no-any-return]

    def _check_columns(self) -> None:
        """Look at the first documents of each input before all of them are measured."""
        found = []
        for number in range(len(self.recipe.input)):
            shards = [shard for shard in self.shards if shard.input == number]
            spans = [span for shard in shards for span in self.indexes[shard.number].spans]
            first = self.pool.call(intake.first_schema, self.recipe, number, spans, self.shards)
            if first is not None:
                intake.check_names(self.recipe, number, *first)
                intake.check_id(self.recipe, number, *first)
                found.append(first[1])
        if len(found) == len(self.recipe.input):
            intake.check_columns(self.recipe, found)

    def cut(self, map_: Map) -> store.Record:
        """Find what repeats across the corpus, where the recipe cuts it; what is counted of it."""
        if self.recipe.cuts is None:
            return {}
        given = (self.folder, self.recipe, self.seed, self.blocks, self.shards)
        return Cutting(*given, self.pool.call, map_).run()

    # Pass 1

    def blocks_to_measure(self) -> list[int]:
        """The blocks that have no receipt yet."""
        return [b.number for b in self.blocks if not self._receipt("measure", b.number)]

    def _receipt(self, step: str, number: int) -> store.Record | None:
        name = block_name(number) if step == "measure" else write.part_name(number)
        path = self.folder / "receipts" / f"{step}-{name}.json"
        return store.read_json(path) if path.exists() else None

    def _receipts(self, step: str, numbers: Sequence[int]) -> list[store.Record]:
        return [self._receipt(step, number) or {} for number in numbers]

    def measure(self, number: int) -> store.Record:
        """Normalize and measure one block, in a worker."""
        block = self.blocks[number]
        task = rescue.Task(self.folder, self.recipe, self.seed, block, self.shards)
        receipt = rescue.measure(self.pool, task, lambda said: self.tell(said, 0, 1))
        size = sum(span.text_bytes for span in block.spans)
        return {name: receipt[name] for name in ("block", "rows", "quarantined")} | {"bytes": size}

    def measured(self) -> store.Record:
        """End pass 1: too much in quarantine fails the run before anything is decided."""
        numbers = [block.number for block in self.blocks]
        receipts = self._receipts("measure", numbers)
        rows = sum(receipt["rows"] for receipt in receipts)
        lost = sum(receipt["quarantined"] for receipt in receipts)
        if lost > self.recipe.max_quarantined * rows:
            raise QuarantineError(
                f"{lost} of {rows} documents could not be read; max_quarantined allows "
                f"{self.recipe.max_quarantined:.2%}. Each is named in {self.folder}/quarantine"
            )
        if (
            store.read_json(self.folder / "identity.json")["measure"]
            != self.recipe.measure.identity()
        ):
            raise InputError(
                "a model, tokenizer or evaluation set was changed while the run went on; run "
                "again: it begins another run, since other values may be measured"
            )
        without_types = {shard.name for shard in self.shards if shard.format == "jsonl"}
        conflicts = self.recipe.output.on_conflict
        self.carried = carried_schema(receipts, conflicts, without_types)
        intake.check_all(self.recipe, self.shards, receipts, self.carried)
        self.schema = write.output_schema(self.recipe, self.carried)
        kept = kept_columns(self.recipe)
        documents = Documents.of(self.folder, self.recipe, self.seed, receipts, self.carried, kept)
        self.decisions = Decisions(self.recipe, documents)
        return {"documents": rows, "quarantined": lost}

    # Decide

    def decide(self, stage: str, map_: Map) -> store.Record:
        """Let one stage of the recipe's order decide."""
        started = time.monotonic()
        if self.recipe.list_hashes() != self.lists:
            raise InputError(
                "a list of filter.urls or a file of augment.wordnet was changed while the run went "
                "on; run again: it begins another run, since other documents may go"
            )
        steps: Mapping[str, Callable[[], store.Record]] = {
            "filter": self.decisions.filter,
            "dedup": lambda: self._deduplicate(map_),
            "balance": self.decisions.balance,
        }
        result = steps[stage]()
        self.seconds[stage] = time.monotonic() - started
        self.tell(stage, 1, 1)
        return result

    def _deduplicate(self, map_: Map) -> store.Record:
        """Drop exact duplicates, then near ones, after comparing the candidates' texts."""
        found = Deduplication(self.decisions, self.blocks, self.shards, self.pool.call, map_)
        result = found.run()
        self.duplicates |= found.counts
        return result

    # Pass 2

    def plan_parts(self) -> store.Record:
        """Write the ledger and plan the parts."""
        ledger.write_representatives(self.decisions)
        names = [shard.name for shard in self.shards]
        documents = self.decisions.documents
        fates = list(self.decisions.fates())

        def write_block(place: int) -> store.Record:
            arguments = (documents, self.recipe, names, place, fates[place])
            found: store.Record = self.pool.call(ledger.write_block, *arguments)
            return found

        written = self.over("write the ledger", write_block, range(len(fates)))
        self.duplicates["sources"] = ledger.between_sources(written)
        self.parts = parts.plan(self.decisions)
        return {"parts": self.parts}

    def parts_to_write(self) -> list[int]:
        """The parts that have no receipt yet."""
        return [n for n in range(self.parts) if not self._receipt("write", n)]

    def write(self, number: int) -> store.Record:
        """Augment and write one part, in a worker."""
        arguments = (self.folder, self.recipe, self.seed, number, self.blocks, self.shards)
        receipt = self.pool.call(write.write_part, *arguments, self.schema)
        return {"part": number, "rows": receipt["files"]["data"]["rows"]}

    # Books

    def count(self) -> store.Record:
        """Count everything, and hold the books to balance."""
        receipts = self._receipts("write", range(self.parts))
        documents = self.decisions.documents
        groups, total = counting.largest_groups(documents), counting.Total()

        def count_block(place: int) -> store.Record:
            given = (documents, self.recipe, groups, place)
            return total.add(self.pool.call(counting.count_block, *given))

        if any(receipt["asked"] > receipt["added"] for receipt in receipts):
            self.decisions.left_out(ledger.left_out(self.folder))
        blocks = self.over("count", count_block, range(len(self.blocks)))
        self.picks = examples.merged([block["picks"] for block in blocks])
        self.statistics = outcome.count(
            self.decisions, blocks, total.known(), self.duplicates, receipts, len(self.shards)
        )
        ledger.check_books(self.statistics["documents"])
        store.write_json(self.folder / "stats.json", self.statistics, indent=False)
        counts: store.Record = self.statistics["documents"]
        return counts

    def draw_report(self) -> Path:
        """Read the documents again that are shown, and draw the report page."""
        chosen = [*self.picks, *examples.clusters(self.decisions)]
        given = (self.folder, self.recipe, self.seed, self.blocks, self.shards)
        examples.write(chosen, *given, self.pool.call, self.over)
        return rendering.write(self.folder, self.recipe, self.statistics)

    def publish(self) -> Run:
        """Point HEAD at this run, if its gates let it, and leave no scratch behind."""
        shutil.rmtree(self.folder / "scratch", ignore_errors=True)
        store.write_json(self.folder / "timing.json", {"seconds": self.seconds})
        self._hold_gates()
        store.remove_leftovers(self.output)  # of workers that ended while they wrote
        self._point_at(self._receipts("write", range(self.parts)))
        to, alone = self.recipe.output.publish_to, self.recipe.output.publish_alone
        if to is not None:
            push(self.output, to, self.over, self.pool.call, alone=alone)
        return Run.load(self.folder)

    def _point_at(self, receipts: Sequence[store.Record]) -> None:
        outcome.publish(self.control, self.folder, receipts)

    def _hold_gates(self) -> None:
        """A gate that fails keeps HEAD where it is; the run and its report stay."""
        failed = gates.failures(self.statistics["gates"])
        if failed:
            said = "\n".join(f"gate {line}" for line in failed)
            raise GateError(
                f"{said}\nrun {self.folder.name} was not published and HEAD did not move. Look at "
                f"{self.folder / 'report.html'}, then mend the recipe or the input; or loosen the "
                "gate, or set its on_fail: warn, and run again: it goes on where it was"
            )

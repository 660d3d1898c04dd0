"""What people see at a terminal. Text from documents is shown as it is, never interpreted."""

import base64
import time
import unicodedata
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from cleanpipe.memory import Memory
from cleanpipe.outcome import Run
from cleanpipe.presets import Preset
from cleanpipe.report.summary import attrition, cut_told, held_told, megabytes, share
from cleanpipe.rules.gates import told

SECONDS_BETWEEN_LINES = 10.0
LONGEST_SHOWN = 600
SHOWN_EXAMPLES = 5
LONGEST_CUT = 80
STEPS_SHOWN = 8
RULES_SHOWN = 11
"""Rows of the table that ends a run, so that with what follows it fits 24 lines."""


class Progress:
    """Bars on a terminal; elsewhere a line a step and one every ten seconds."""

    def __init__(self, console: Console) -> None:
        self.console = console
        columns = (TextColumn("{task.description}"), BarColumn(10), MofNCompleteColumn())
        more = (TimeRemainingColumn(), TextColumn("{task.fields[note]}", markup=False), Memory())
        self.bars = Bars(*columns, *more, console=console, transient=True)
        self.tasks: dict[str, Any] = {}
        self.said = 0.0

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self.bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bars.stop()

    def say(self, message: str) -> None:
        """A line for people."""
        self.console.print(message, markup=False)

    def tell(self, step: str, done: int, total: int, note: str = "", /) -> None:
        """How far a step is, and how fast."""
        if self.console.is_terminal:
            if step not in self.tasks:
                self.tasks[step] = self.bars.add_task(step, total=total, note="")
                for old in [*self.tasks.values()][:-STEPS_SHOWN]:
                    self.bars.update(old, visible=False)
            self.bars.update(self.tasks[step], completed=done, total=total, note=note)
        elif done in {0, total} or time.monotonic() - self.said > SECONDS_BETWEEN_LINES:
            self.said = time.monotonic()
            self.say(f"{step}: {done} of {total}" + (f", {note}" if note else ""))


def visible(text: str) -> Text:
    """A document's text for a terminal: control, bidi and zero-width characters as <U+XXXX>."""
    shown = text[:LONGEST_SHOWN] + (" [...]" if len(text) > LONGEST_SHOWN else "")
    parts = [
        f"<U+{ord(char):04X}>"
        if unicodedata.category(char) in _HIDDEN and char not in "\n\t"
        else char
        for char in shown
    ]
    return Text("".join(parts))


_HIDDEN = {"Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp"}


def show_presets(console: Console, presets: list[Preset]) -> None:
    """What each preset is, and where it comes from."""
    for preset in presets:
        console.print(Text.assemble((preset.name, "bold"), f"  {preset.about}"), soft_wrap=True)
        console.print(f"    {preset.source}", markup=False, soft_wrap=True)
    console.print("\ncleanpipe presets NAME prints one; a recipe has extends: [NAME, ...]")


def show_fit(console: Console, fit: dict[str, Any]) -> None:
    """A trained classifier: its examples, how well it tells them apart, how to use it."""
    for label, count in fit["examples"].items():
        lost = f", {count['quarantined']:,} unreadable" if count["quarantined"] else ""
        console.print(
            f"{label:4}  {count['read']:,} read, {count['trained_on']:,} trained on, "
            f"{count['held_out']:,} held out{lost}"
        )
    console.print(f"{fit['repeated']:,} repeated another, {fit['in_both']:,} were good and bad")
    table = Table("low", "precision", "recall", "bad kept", box=None, pad_edge=False)
    for row in fit["thresholds"]:
        cells = (row[name] for name in ("precision", "recall", "bad_kept"))
        table.add_row(f"{row['low']:.2f}", *("" if v is None else f"{v:.1%}" for v in cells))
    for column in table.columns:
        column.justify = "right"
    console.print(f"AUROC of the held out {fit['auroc']:.4f}")
    console.print(table)
    console.print(
        f"model  {fit['model']} ({megabytes(fit['bytes'])})", soft_wrap=True, markup=False
    )
    console.print("recipe measure: {models: {quality: PATH}}, filter: {quality: {low: LOW}}")


def show_run(console: Console, run: Run) -> None:
    """The end of a run: where the result is, what was kept and dropped, and why."""
    stats = run.stats
    documents = stats["documents"]
    columns = ("stage", "rule", "documents", "share", "text", "fail it", "alone")
    table = Table(*columns, box=None, pad_edge=False)
    for column in table.columns[2:]:
        column.justify = "right"
    lines = attrition(stats)
    shown = [*sorted(lines[:-1], key=lambda row: -row["documents"])[: RULES_SHOWN - 1], lines[-1]]
    for row in (row for row in lines if row in shown):
        label = Text(
            row["stage"] or row["verdict"], style="bold" if row["verdict"] == "kept" else ""
        )
        part = share(row["documents"], documents["read"])
        rule = visible(row["rule"] or "")
        overlap = ("" if row[name] is None else f"{row[name]:,}" for name in ("failed", "alone"))
        counted = f"{row['documents']:,}"
        table.add_row(label, rule, counted, part, megabytes(row["bytes"]), *overlap)
    console.print(table)
    if len(lines) > len(shown):
        others = sum(row["documents"] for row in lines if row not in shown)
        console.print(
            Text(f"and {len(lines) - len(shown)} rules more, of {others:,} documents", "dim")
        )
    if stats["rules"]:
        console.print(Text(_OVERLAP, "dim"))
    added = f", {documents['added']:,} extra copies added" if documents["added"] else ""
    console.print(
        f"\n{documents['read']:,} documents read = {documents['kept']:,} kept + "
        f"{documents['dropped']:,} dropped + {documents['quarantined']:,} quarantined{added}; "
        f"{documents['written']:,} written",
    )
    if told_of_cuts := cut_told(stats):
        console.print(told_of_cuts)
    if told_of_groups := held_told(stats):
        console.print(visible(told_of_groups), soft_wrap=True)
    for alert in stats["alerts"]:
        console.print(visible(f"alert: {alert}"), style="yellow", soft_wrap=True)
    for line in stats["gates"]:
        if line["outcome"] == "warned":
            console.print(Text(f"gate {told(line)} (on_fail: warn)", style="yellow"))
    size = sum(path.stat().st_size for path in run.parts)
    where = f"{len(run.parts)} parts, {megabytes(size)} on disk"
    console.print(
        f"clean parts   {run.output / 'data' / run.folder.name} ({where})", soft_wrap=True
    )
    console.print(f"report        {run.report}", soft_wrap=True)
    console.print(f"why one went  cleanpipe why {run.output} ID", soft_wrap=True)


_OVERLAP = "fail it: of all documents, whoever dropped them; alone: fail no other rule"


def show_story(console: Console, story: dict[str, Any]) -> None:
    """One document's story."""
    verdict = story["verdict"]
    head = Text.assemble(
        (verdict["verdict"], "bold"),
        " ",
        visible(verdict["id"]),
        visible(f"  ({verdict['shard']}, row {verdict['row']})"),
    )
    console.print(head)
    if lang := story.get("measures", {}).get("lang"):
        console.print(visible(f"  language {lang}"))
    if verdict["rule"]:
        console.print(Text("  by ") + visible(_reason(verdict)))
    for line in story.get("quarantine", []):
        where = "" if line["offset"] is None else f" at byte {line['offset']:,}"
        console.print(visible(f"  {line['detail']}{where}, {line['length']:,} bytes"))
        console.print(visible(base64.b64decode(line["sample"]).decode(errors="replace")))
    if best := story.get("representative"):
        way = "is marked as near" if verdict["verdict"] == "kept" else "gave way to"
        console.print(visible(f"  {way} {best['id']}, {_became(best, verdict)}"))
    if equal := story.get("equal"):
        console.print(visible(f"  {_both(equal)}"))
    for step in story.get("fixes", []):
        console.print(Text("  fixed ") + visible(str(step)))
    _show_cuts(console, story)
    _show_rules(console, story)
    _show_evaluations(console, story)
    if "before" in story and story["before"] != story["after"]:
        console.print(Text("before:", "bold"), visible(story["before"]), sep="\n")
    if "after" in story:
        console.print(Text("text:", "bold"), visible(story["after"]), sep="\n")
    if "beside" in story:
        _show_beside(console, story["beside"]["differs"])
    console.print()


def _show_beside(console: Console, differs: list[list[str]]) -> None:
    """What this document has that the one which stands for it has not, and the other way."""
    if all(kind == "" for kind, _ in differs):
        console.print("its beginning is that of the document it is similar to")
        return
    console.print(Text("[only here] {only in that document}:", "bold"))
    signs = {"mark": ("[", "]"), "gone": ("{", "}")}
    for kind, text in differs:
        first, last = signs.get(kind, ("", "")) if text.strip() else ("", "")
        console.print(Text(first, "bold") + visible(text) + Text(last, "bold"), end="")
    console.print()


def _show_cuts(console: Console, story: dict[str, Any]) -> None:
    """What was cut from the document, and who keeps it."""
    for span in story.get("cuts", [])[:SHOWN_EXAMPLES]:
        text = " ".join(span["text"].split())
        shown = text[:LONGEST_CUT] + ("..." if len(text) > LONGEST_CUT else "")
        own = (span["shard"], span["row"]) == tuple(story["verdict"][n] for n in ("shard", "row"))
        keeper = "stands above in it" if own else f"{span['owner']} ({span['verdict']}) keeps it"
        console.print(visible(f"  cut {shown!r}: {keeper}"))
    if (more := len(story.get("cuts", [])) - SHOWN_EXAMPLES) > 0:
        console.print(f"  and {more:,} more spans (--json lists them)")


def _show_evaluations(console: Console, story: dict[str, Any]) -> None:
    """The examples of evaluation sets that the document shares words with."""
    for met in story.get("evaluations", [])[:SHOWN_EXAMPLES]:
        part = f"{met['seen']:,} of {met['of']:,} words"
        console.print(visible(f"  holds {part} of example {met['id']} of {met['set']}"))
    if (more := len(story.get("evaluations", [])) - SHOWN_EXAMPLES) > 0:
        console.print(f"  and words of {more:,} more examples (--json lists them)")


def _both(equal: dict[str, Any]) -> str:
    """The value that made one document the duplicate of another."""
    told = f"both have {equal['column']} {equal['compared']}"
    same = equal["compared"] == equal["value"] == equal["other"]
    return told if same else f"{told}: {equal['value']} here, {equal['other']} there"


def _show_rules(console: Console, story: dict[str, Any]) -> None:
    """What each rule says of the document, and which entry of which list it found."""
    if story.get("rules"):
        console.print(_rules(story["rules"]))
    for rule in story.get("rules", []):
        for hit in rule.get("found", []):
            console.print(visible(f"  {rule['rule']}: {hit['entry']!r} of {hit['list']}"))
    for path in story.get("changed_lists", []):
        console.print(visible(f"  {path} is not the list of the run any more: it is not explained"))


def _became(best: dict[str, Any], verdict: dict[str, Any]) -> str:
    by = f" by {best['stage']}: {best['rule']}" if best["rule"] else ""
    if verdict["similarity"] is None:
        return f"which was {best['verdict']}{by}"
    return f"which was {best['verdict']}{by} (similarity {verdict['similarity']:.3f})"


def _rules(rules: list[dict[str, Any]]) -> Table:
    """The rules that apply to the document, with its values and their bounds."""
    table = Table("rule", "value", "low", "high", "", box=None, pad_edge=False)
    for rule in (rule for rule in rules if rule["applies"]):
        cells = (_number(rule[name]) for name in ("value", "low", "high"))
        table.add_row(rule["rule"], *cells, Text("fails", "red") if rule["fails"] else "")
    return table


def _reason(verdict: dict[str, Any]) -> str:
    bounds = [
        f"{name} {_number(verdict[name])}" for name in ("low", "high") if verdict[name] is not None
    ]
    value = "" if verdict["value"] is None else f" = {_number(verdict['value'])}"
    limits = f" ({', '.join(bounds)})" if bounds else ""
    return f"{verdict['stage']}: {verdict['rule']}{value}{limits}"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value == int(value) else f"{value:.4g}"

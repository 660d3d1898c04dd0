"""Gates: bounds on the numbers of a whole run, held before it is published.

Rules judge documents, gates judge runs: half the corpus gone, a language that nobody recognizes, a
night without new text. A run that fails a gate stays to be looked at, and HEAD stays where it was.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    RootModel,
    model_validator,
)
from pydantic_core import CoreSchema

from cleanpipe.nearest import did_you_mean
from cleanpipe.rules.filter import MEASURES
from cleanpipe.rules.urls import CAP, KINDS
from cleanpipe.stats.drift import STATISTICS

BY_RULE = "dropped_by_"
GROUPED = ("lang", "source")
METRICS: Mapping[str, str] = {
    "kept_share": "documents kept, of those read",
    "dropped_share": "documents dropped, of those read",
    "duplicate_share": "documents that gave way to another one, of those read",
    "quarantined_share": "documents that could not be read, of those read",
    "lang_und_share": "documents of no known language, of those that were measured",
    "kept_documents": "documents kept",
    "kept_bytes": "bytes of clean text kept, without extra copies",
    **{
        f"{BY_RULE}{rule}": f"documents that `filter.{rule}` was the first to drop, of those read"
        for rule in (*MEASURES, "where", *KINDS, CAP)
    },
}
"""What can have a gate, and what it means. A share of nothing is 0."""
DRIFT = "drift."
DRIFT_PATTERN = rf"^drift\.(raw\.)?[^.]+\.({'|'.join(STATISTICS)})$"
DRIFT_ABOUT = (
    "how far a measure, `lang` or `source` lies from that of all that is published, of what was "
    "kept, or with `raw` of what was read; passes where there is nothing to compare with"
)


def known_metric(name: str) -> str:
    """The name, if it is one of a run's metrics.

    Errors: ValueError, with the nearest name.
    """
    if name.startswith(DRIFT):
        measure_of(name)
    elif name not in METRICS:
        plain = ", ".join(metric for metric in METRICS if not metric.startswith(BY_RULE))
        near = did_you_mean(name, METRICS) or f"; these are: {plain}, {BY_RULE}RULE"
        raise ValueError(f"no such metric{near}")
    return name


def measure_of(metric: str) -> tuple[str, str, str]:
    """Side, measure and statistic of a metric of drift.

    Errors: ValueError, with the nearest name.

    >>> measure_of("drift.words.psi"), measure_of("drift.raw.lang.js")
    (('clean', 'words', 'psi'), ('raw', 'lang', 'js'))
    """
    parts = metric.removeprefix(DRIFT).split(".")
    side = "raw" if len(parts) > 2 and parts[0] == "raw" else "clean"
    name, statistic = ".".join(parts[side == "raw" : -1]), parts[-1]
    allowed = ("psi", "js") if name in GROUPED else tuple(STATISTICS)
    if not name or statistic not in allowed:
        near = did_you_mean(statistic, allowed) or f": {', '.join(allowed)}"
        raise ValueError(
            f"no such metric: expected drift.MEASURE.STATISTIC or drift.raw.MEASURE.STATISTIC, "
            f"{statistic!r} is no statistic{' of groups' if name in GROUPED else ''}{near}"
        )
    return side, name, statistic


Bound = Annotated[float, Field(allow_inf_nan=False)] | None


class Gate(BaseModel):
    """The bounds of one metric, both ends included, and what happens outside of them.

    >>> Gate(low=0.5).judge("kept_share", 0.25)["outcome"]
    'failed'
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    low: Bound = None
    """The smallest value that passes."""
    high: Bound = None
    """The largest value that passes."""
    on_fail: Literal["fail", "warn"] = "fail"
    """`fail` publishes nothing and ends with exit code 1; `warn` publishes, and says so in the
    summary, in stats.json and in the report."""

    @model_validator(mode="after")
    def _can_decide(self) -> Self:
        if self.low is None and self.high is None:
            raise ValueError("has no bound: give low or high, or leave the gate out")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low {self.low:g} is above high {self.high:g}: no run could pass")
        return self

    def judge(self, metric: str, value: float | None) -> dict[str, Any]:
        """The gate's line in stats.json: metric, value, bounds, and how it came out.

        Without a value, of a drift from nothing, it passes.
        """
        too_low = self.low is not None and value is not None and value < self.low
        too_high = self.high is not None and value is not None and value > self.high
        outcome = {"fail": "failed", "warn": "warned"}[self.on_fail]
        return {
            "metric": metric,
            "value": value,
            **self.model_dump(),
            "outcome": outcome if too_low or too_high else "passed",
        }


class Gates(RootModel[dict[Annotated[str, AfterValidator(known_metric)], Gate]]):
    """Gates by metric; `false` or `null` in place of one switches off what a preset brings.

    >>> list(Gates({"kept_share": {"low": 0.5}, "kept_bytes": None}).root)
    ['kept_share']
    """

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _without_those_off(cls, given: object) -> object:
        if not isinstance(given, Mapping):
            return given
        return {
            metric: gate
            for metric, gate in given.items()
            if not _is_known(metric) or (gate is not None and gate is not False)
        }

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """The form that recipes have: metrics directly under `gates`."""
        schema = handler.resolve_ref_schema(handler(core))
        gate = schema.pop("additionalProperties")
        either = [gate, {"const": False}, {"type": "null"}]
        schema["properties"] = {
            name: {"anyOf": either, "description": about} for name, about in METRICS.items()
        }
        schema["patternProperties"] = {DRIFT_PATTERN: {"anyOf": either, "description": DRIFT_ABOUT}}
        schema["additionalProperties"] = False
        return schema

    def judge(self, stats: Mapping[str, Any]) -> list[dict[str, Any]]:
        """A line for each gate, in the recipe's order; `stats` is what `value` asks for."""
        return [gate.judge(metric, value(metric, stats)) for metric, gate in self.root.items()]


def _is_known(metric: str) -> bool:
    return metric in METRICS or (isinstance(metric, str) and metric.startswith(DRIFT))


def value(metric: str, stats: Mapping[str, Any]) -> float | None:
    """A metric of a run, from `documents`, `clean`, `stages`, `by` and `drift` of its statistics.

    None is a drift that cannot be told: there is no earlier run, or one of both has no such value.

    >>> value("kept_share", {"documents": {"read": 8, "kept": 6}})
    0.75
    """
    if metric.startswith(DRIFT):
        side, name, statistic = measure_of(metric)
        found: float | None = stats["drift"][side].get(name, {}).get(statistic)
        return found
    if metric == "kept_bytes":
        return int(stats["clean"]["bytes"])
    if metric == "kept_documents":
        return int(stats["documents"]["kept"])
    if metric == "lang_und_share":
        by_lang = stats["by"]["lang"]["raw"]
        measured = sum(sizes["documents"] for sizes in by_lang.values())
        return _share(by_lang.get("und", {"documents": 0})["documents"], measured)
    documents, stages = stats["documents"], stats.get("stages", ())
    if metric == "duplicate_share":
        part = sum(row["documents"] for row in stages if row["stage"] == "dedup")
    elif metric.startswith(BY_RULE):
        rule = ("filter", metric.removeprefix(BY_RULE))
        part = sum(row["documents"] for row in stages if (row["stage"], row["rule"]) == rule)
    else:
        part = documents[metric.removesuffix("_share")]
    return _share(part, documents["read"])


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def told(line: Mapping[str, Any]) -> str:
    """A gate's line for people.

    >>> told(Gate(low=0.5).judge("kept_share", 0.25))
    'kept_share is 0.25, below low 0.5'
    """
    if line["value"] is None:
        return f"{line['metric']}: nothing to compare with"
    known = f"{line['metric']} is {_number(line['value'])}"
    if line["outcome"] == "passed":
        return known
    side = "low" if line["low"] is not None and line["value"] < line["low"] else "high"
    where = {"low": "below", "high": "above"}[side]
    return f"{known}, {where} {side} {_number(line[side])}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:.6g}"


def failures(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """What keeps a run from being published, in words; none is an open way."""
    return [told(line) for line in lines if line["outcome"] == "failed"]

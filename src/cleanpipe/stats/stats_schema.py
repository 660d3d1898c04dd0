"""The form of stats.json, as models: `cleanpipe schema --stats` prints their JSON Schema.

Every key that a run writes stands here (a test holds runs to it); readers should pass over keys
that they do not know, since some may come within a version. Shares are one division of two of
these integers, and left to whoever shows them.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from cleanpipe.stats.stats import VERSION

Count = int
Name = str


class Described(BaseModel):
    """An object of stats.json."""

    model_config = ConfigDict(extra="allow", use_attribute_docstrings=True)


class Sizes(Described):
    """How much text."""

    documents: Count
    bytes: Count
    """In UTF-8."""
    chars: Count
    tokens: Count | None = None
    """Only with measure.tokenizer."""


class Documents(Described):
    """The books: read = kept + dropped + quarantined, written = kept + added."""

    read: Count
    kept: Count
    dropped: Count
    quarantined: Count
    added: Count
    """Extra copies."""
    written: Count


class Quantile(Described):
    """A quantile by nearest rank."""

    value: float
    error: float
    """The exact one is at most so far away: the width of its bin decides."""


class Histogram(Described):
    """A measure of some documents, in fixed bins: histograms of groups and runs add up."""

    count: Count
    """Documents with a value."""
    null: Count
    """Documents without one."""
    min: float | None
    max: float | None
    sum: int | None
    """Of all values: whole numbers as they are, others in units of 2^-20, each rounded to it. Null
    where 64 bits do not hold it."""
    bins: list[tuple[float, Count]]
    """[lower edge, documents], ascending, those without a document left out. A bin ends where the
    next one of its measure begins (`cleanpipe.stats.histograms.edges`); the last is open."""
    quantiles: dict[str, Quantile] | None = None
    """By share: 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99. Not of groups."""


class Sides(Described):
    """Before and after."""

    raw: Histogram
    """Of all documents that could be read, after normalize."""
    clean: Histogram
    """Of those kept."""


class Groups(Described):
    """The histograms of a column's groups: of the largest ones, and of the rest together."""

    named: list[Name] | None
    """The groups told apart, even where they have no document; null: all."""
    groups: dict[Name, dict[Name, Sides]]
    """By group and measure."""
    rest: dict[Name, Sides] | None
    """By measure; null where every group is told apart."""


class SizesOfSides(Described):
    """Sizes by group."""

    raw: dict[Name, Sizes]
    clean: dict[Name, Sizes]


class Lost(Described):
    """What a rule of a stage dropped, each document at the first that did."""

    stage: Name
    rule: Name
    verdict: Literal["dropped", "quarantined"]
    documents: Count
    bytes: Count | None
    """Null of what could not be read."""
    chars: Count | None
    tokens: Count | None = None


class Move(Described):
    """A bound a tenth away, the other rules as they are."""

    side: Literal["low", "high"]
    change: Literal[-10, 10]
    """In percent."""
    bound: float | None
    failed: Count
    """Documents that would fail the rule."""
    passed: Count
    """Documents that would pass every rule."""


class Rule(Described):
    """A rule of the filter, beside the others."""

    rule: Name
    low: float | None
    high: float | None
    by_lang: dict[Name, Any]
    langs: list[Name] | None
    applies: Count
    """Documents that it can judge."""
    failed: Count
    first: Count
    """Of these, those that no rule before it dropped."""
    alone: Count
    """Of these, those that fail no other rule."""
    moves: list[Move]


class Both(Described):
    """Two rules, and the documents that fail both."""

    rule: Name
    other: Name
    documents: Count


class Judged(Described):
    """The filter as a whole."""

    judged: Count
    """Documents that had a text."""
    passed: Count


class Duplicates(Described):
    """Documents that gave way to another one, by the kind of likeness."""

    column: Count
    exact: Count
    near: Count
    marked: Count
    """Near-duplicates that were kept, as the recipe asks."""
    compared: Count
    """Pairs whose texts were compared."""
    uncompared: Count
    """Pairs in crowded buckets that were not: at most so many."""
    sources: list[dict[str, Any]]
    """How many documents of a source gave way to one of another: source, other, documents."""
    earlier: dict[Name, Count] | None = None
    """What a night dropped for documents of earlier nights (exact, near), and pairs compared."""
    crowded: dict[str, Any] | None = None
    """Of buckets too large to compare everyone in: buckets, largest, example."""


class Copies(Described):
    """Extra copies, for balance."""

    asked: Count
    written: Count
    bytes: Count
    operations: list[dict[str, Any]]
    """By operations, outcome and reason: copies, bytes, changed_millionths."""


class Gate(Described):
    """A gate of the recipe, and how it came out."""

    metric: Name
    value: float | None
    """Null of a drift that could not be told."""
    low: float | None
    high: float | None
    on_fail: Literal["fail", "warn"]
    outcome: Literal["passed", "failed", "warned"]


class Apart(Described):
    """How far a measure, or the groups of a column, lies from the earlier run's: drift.py."""

    psi: float
    psi_by_chance: float
    """What two samples of one corpus would stay below 99 times of 100."""
    js: float
    ks: float | None = None
    """This and what follows: not of groups."""
    wasserstein: float | None = None
    wasserstein_sd: float | None = None
    """Null where the earlier run had one value only."""
    effect: Literal["chance", "none", "small", "medium", "large"]
    """The largest word of psi, ks and wasserstein_sd."""


class Drift(Described):
    """How far a run lies from what was published when it ran, read and kept."""

    against: Name | None
    """The run that published it; after nights that added to one another, all of them together."""
    why_not: str | None
    """Why nothing was compared."""
    raw: dict[Name, Apart]
    """By measure; lang and source are the columns' groups."""
    clean: dict[Name, Apart]


class Sketch(Described):
    """What diversity is estimated from; sketches add up."""

    ngrams: Count
    least: list[int]
    """The smallest sampled hashes of word 5-grams."""
    bytes: Count
    packed: Count
    """The same bytes compressed, a document at a time."""


class Sketches(Described):
    """Before and after."""

    raw: Sketch
    clean: Sketch


class Stats(Described):
    """The statistics of a run of cleanpipe: stats.json."""

    model_config = ConfigDict(title=f"cleanpipe stats.json, version {VERSION}")

    version: int = Field(ge=VERSION, le=VERSION)
    """Of this form: within a version keys may come; none goes, none changes its meaning."""
    documents: Documents
    shards: Count
    """Files that were read."""
    raw: Sizes
    """What was read, after normalize and cuts."""
    clean: Sizes
    """What was kept, without extra copies."""
    by: dict[Name, SizesOfSides]
    """By language and source, most bytes first."""
    histograms: dict[Name, Sides]
    """By measure."""
    by_group: dict[Name, Groups]
    """The same by language and source."""
    stages: list[Lost]
    filter: Judged
    rules: list[Rule]
    rule_pairs: list[Both]
    duplicates: Duplicates
    clusters: list[tuple[int, Count]]
    """[size, clusters of that size] of documents that stand for others."""
    filtered_clusters: list[tuple[int, Count]]
    """[size, documents that the filter dropped of those that stand for so many]."""
    similarities: list[tuple[float, Count]]
    """[similarity, near-duplicates] in hundredths, rounded down."""
    fixes: dict[Name, Count]
    """Documents that each fix of normalize changed."""
    cuts: dict[Name, Count]
    """What was cut of repeated spans; empty without cuts."""
    evaluations: dict[Name, Any]
    """What was found of evaluation sets; empty without them."""
    groups: list[dict[str, Any]]
    """Of balance: asked and achieved; empty without it."""
    copies: Copies
    diversity: dict[Name, Any]
    sketches: Sketches
    drift: Drift
    gates: list[Gate]
    alerts: list[str]
    """What whoever runs this should know, in words."""


def schema() -> dict[str, Any]:
    """The JSON Schema of stats.json.

    >>> schema()["properties"]["version"]["minimum"] == VERSION
    True
    """
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Stats.model_json_schema()}


def unknown(found: Any, path: str = "") -> list[str]:
    """The keys of a validated object that no model describes, by their path."""
    if isinstance(found, Described):
        own = [f"{path}.{name}" for name in found.model_extra or {}]
        inner = {name: getattr(found, name) for name in type(found).model_fields}
    elif isinstance(found, dict):
        own, inner = [], found
    elif isinstance(found, list):
        own, inner = [], {str(place): one for place, one in enumerate(found)}
    else:
        return []
    return [*own, *(more for name, one in inner.items() for more in unknown(one, f"{path}.{name}"))]

"""The recipe: frozen models, one a section, checked as a whole; `recipe_file.load` reads one.

What comes out is complete: every option has its value, every path is absolute.
"""

import io
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, Self

import polars as pl
from pydantic import (
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema
from ruamel.yaml import YAML

from cleanpipe.augmenting.augment import Augment
from cleanpipe.augmenting.rewording import wordnet, wordnet_files
from cleanpipe.balancing.balance import Balance
from cleanpipe.duplicates.cuts import MEASURES as CUT_MEASURES
from cleanpipe.duplicates.cuts import Cuts
from cleanpipe.duplicates.dedup import Dedup
from cleanpipe.errors import RecipeError
from cleanpipe.input.corpus import Input
from cleanpipe.measures.measuring import Measure
from cleanpipe.nearest import did_you_mean
from cleanpipe.presets import files
from cleanpipe.recipes.output import Output
from cleanpipe.recipes.recipe_tree import Node, Written
from cleanpipe.report.excerpts import Report
from cleanpipe.rules.filter import (
    MEASURES,
    NO_CUTS,
    NO_EVALUATIONS,
    NO_TOKENS,
    OF_CUTS,
    OF_EVALUATIONS,
    OF_LANGUAGE,
    Filter,
)
from cleanpipe.rules.gates import DRIFT, Gates, measure_of
from cleanpipe.rules.ranking import column_of
from cleanpipe.rules.url_lists import content_hash
from cleanpipe.text.normalize import Normalize

Stage = Literal["filter", "dedup", "balance"]
ORDERS: tuple[tuple[Stage, ...], ...] = (
    ("filter", "dedup", "balance"),
    ("dedup", "filter", "balance"),
)
# What `false` or `null` in place of a section means.
OFF: Mapping[str, Any] = {
    "normalize": {"fixes": ()},
    "cuts": None,
    "measure": {"language": False},
    "filter": {},
    "dedup": None,
    "balance": None,
    "augment": None,
    "gates": {},
}


class Recipe(BaseModel):
    """What to do with a corpus. Only the paths of input and output are needed.

    A section that is left out is at its defaults: `normalize` and `measure` are on, there are no
    rules, and nothing is deduplicated, balanced or augmented. `false` or `null` in place of a
    section, or of a rule, switches it off: so a recipe undoes what a preset brings.

    >>> recipe = Recipe(input={"path": "in"}, output={"path": "out"}, filter={"words": {"low": 9}})
    >>> recipe.filter.rules["words"].low, recipe.dedup, recipe.output.shard_size
    (9.0, None, 256000000)
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    version: Literal[1] = 1
    """The version of this form of recipes."""
    seed: Annotated[int, Field(ge=0, le=(1 << 64) - 1)] | None = None
    """The start of all chance; left out, it is drawn once for the output folder."""
    input: Annotated[tuple[Input, ...], Field(min_length=1)]
    """Where documents come from: a path, a mapping, or a list of these."""
    memory: Annotated[ByteSize, Field(ge=64_000_000)] = ByteSize(4_000_000_000)
    """What all processes of a run may take together: bytes, or a size such as 4GB. Deciding about
    many documents is cut into as many pieces as this asks for; the result is the same."""
    machines: Annotated[str, Field(pattern=r"^((dask|ray):.+)?$")] = Field(
        default_factory=lambda: os.environ.get("CLEANPIPE_MACHINES", "")
    )
    """A cluster that does the work in place of processes of this machine, such as
    dask:tcp://10.0.0.1:8786 or ray:10.0.0.1:6379; left out, CLEANPIPE_MACHINES may name one. All
    machines see the folders under the same paths; the result is the same."""
    max_quarantined: Annotated[float, Field(ge=0, le=1)] = 0.01
    """The share of documents that may be unreadable before the run fails."""
    normalize: Normalize = Normalize()
    """Repairs of characters and white space; they come before every measure."""
    cuts: Cuts | None = None
    """Text that repeats across the corpus, cut before anything is measured; left out, it stays."""
    measure: Measure = Measure()
    """What is measured."""
    filter: Filter = Filter()
    """Rules: a document outside the bounds of a measure is dropped."""
    dedup: Dedup | None = None
    """Duplicates; left out, they are kept."""
    balance: Balance | None = None
    """The mixture of groups; left out, every document is written once."""
    augment: Augment | None = None
    """What makes extra copies differ; left out, they equal their originals."""
    order: tuple[Stage, ...] = ORDERS[0]
    """Dedup before filter keeps of each cluster the best document, even one that a rule then drops;
    filter before dedup keeps a document that passes."""
    output: Output
    """What is written, and where."""
    gates: Gates = Gates({})
    """Bounds on the run's own numbers; one that fails keeps the run from being published."""
    report: Report = Report()
    """What the report page shows."""
    notices: tuple[str, ...] = ()
    """What reading the recipe found worth telling, for a run and its report to say."""
    _written: Written = Written()

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, given: object) -> object:
        if not isinstance(given, Mapping):
            return given
        known = dict(given)
        for name, off in OFF.items():
            if name in known and (known[name] is None or known[name] is False):
                known[name] = off
        given = known.get("input")
        if isinstance(given, Mapping | Input | str):
            given = (given,)
        if isinstance(given, list | tuple):
            known["input"] = tuple({"path": one} if isinstance(one, str) else one for one in given)
        if isinstance(known.get("output"), str):
            known["output"] = {"path": known["output"]}
        return known

    @field_validator("order")
    @classmethod
    def _possible(cls, order: tuple[Stage, ...]) -> tuple[Stage, ...]:
        if order not in ORDERS:
            possible = " or ".join(f"[{', '.join(stages)}]" for stages in ORDERS)
            raise ValueError(f"expected {possible}, found [{', '.join(order)}]")
        return order

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """The form of recipe files: `extends`, sections that are off, one input as a mapping."""
        schema = handler.resolve_ref_schema(handler(core))
        properties = schema["properties"]
        for name in OFF:
            section = {k: v for k, v in properties[name].items() if k in {"$ref", "anyOf"}}
            about = {k: v for k, v in properties[name].items() if k not in section}
            either = [*section.get("anyOf", [section]), {"const": False}, {"type": "null"}]
            distinct = [one for i, one in enumerate(either) if one not in either[:i]]
            properties[name] = {**about, "anyOf": distinct}
        path = {"type": "string", "minLength": 1}
        entries = properties["input"]
        entry = [path, entries["items"]]
        listed = {**entries, "items": {"anyOf": entry}}
        output = {"$ref": properties["output"]["$ref"]}
        for name, forms in (("input", [*entry, listed]), ("output", [path, output])):
            meaning = cls.model_fields[name].description
            properties[name] = {"anyOf": forms, "description": meaning}
        preset = {"enum": sorted(files())}
        extends = {"anyOf": [preset, {"type": "array", "items": preset}]}
        schema["properties"] = {"version": properties["version"], "extends": extends} | properties
        schema.pop("required", None)  # --input and --output give what a file leaves out
        return schema

    def resolved(self) -> dict[str, Any]:
        """Every option with its value, as JSON has it: a recipe that needs no preset."""
        return self.model_dump(mode="json")

    def identity(self) -> dict[str, Any]:
        """What decides whether a run may be continued.

        All but the folder of the output, the memory, the machines, the report, the notices and the
        gates: a run that failed a gate goes on to its publication, without a second pass over the
        text, when the gate is loosened.
        """
        known = self.resolved()
        for name in ("path", "publish_to", "publish_alone"):
            del known["output"][name]
        for name in ("gates", "report", "notices", "memory", "machines"):
            del known[name]
        return known

    def list_hashes(self) -> dict[str, str]:
        """The hashes of lists of addresses and words, by path: a changed list is another run.

        Errors: InputError for a list that cannot be read.
        """
        found = {} if self.filter.urls is None else self.filter.urls.list_hashes()
        if self.augment is not None and self.augment.wordnet is not None:
            found |= {path: content_hash(path) for path in wordnet_files(self.augment.wordnet)}
        return found

    def dump(self) -> str:
        """The resolved recipe as YAML; `load` reads the same recipe from it."""
        yaml: Any = YAML(typ="safe", pure=True)
        yaml.default_flow_style = False
        yaml.allow_unicode = True
        yaml.width = 1_000_000
        yaml.sort_base_mapping_type_on_output = False  # the order of rules is their meaning
        yaml.representer.ignore_aliases = lambda *_: True
        text = io.StringIO()
        yaml.dump(self.resolved(), text)
        return text.getvalue()

    def measured(self) -> dict[str, pl.DataType]:
        """The measures that the documents will have, and their types."""
        left_out = () if self.measure.language else OF_LANGUAGE
        everyone = {name: kind for name, kind in MEASURES.items() if name not in left_out}
        return everyone | self.measure.own() | (dict(CUT_MEASURES) if self.cuts else {})

    def decision_columns(self) -> tuple[str, ...]:
        """Columns of the input that decisions ask for, and that pass 1 must therefore keep.

        >>> Recipe(input={"path": "in"}, output={"path": "out"}, balance={"by": "topic"},
        ...        filter={"where": "year > 2000 AND words > 3"}).decision_columns()
        ('year', 'topic')
        """
        return tuple(dict.fromkeys(name for _, name in self.asks()))

    def asks(self) -> Iterator[tuple[str, str]]:
        """Each option that asks for a column of the input, and that column."""
        asked = [(f"filter.{option}", name) for option, name in self.filter.asks()]
        if self.balance is not None:
            asked += [(f"balance.{option}", name) for option, name in self.balance.asks()]
        asked += [("dedup.near.keep", name) for name in self._keep()]
        if self.dedup is not None and self.dedup.column is not None:
            asked.append(("dedup.column", self.dedup.column.name))
        if self.augment is not None and self.augment.held_out is not None:
            asked.append(("augment.held_out", self.augment.held_out))
        given = {*self.measured(), "id"}  # every table has an id
        yield from ((option, name) for option, name in asked if name not in given)

    def ranking_columns(self, stage: str) -> tuple[str, ...]:
        """What a table must hold for a stage to tell better documents from worse."""
        if stage == "filter":
            return self.filter.urls.columns() if self.filter.urls else ()
        return tuple(self._keep())

    def _keep(self) -> list[str]:
        return [column_of(preference) for preference in self.dedup.keep()] if self.dedup else []

    def written_in(self, tree: Node) -> Self:
        """The same recipe, which knows where each of its options is written."""
        known = self.model_copy()
        known._written = Written(tree)  # noqa: SLF001 - its own
        return known

    def check_measures(self) -> None:
        """Refuse output.columns that are no measures, and custom measures that cannot be had.

        Errors: RecipeError, with all that is wrong, each with its place.
        """
        known = self.measured()
        needs = {**dict.fromkeys(OF_LANGUAGE, "set measure.language: true"), "tokens": NO_TOKENS}
        needs |= dict.fromkeys(OF_EVALUATIONS, NO_EVALUATIONS) | dict.fromkeys(OF_CUTS, NO_CUTS)
        self.refuse(
            ("output.columns", f"{name!r} is no measure{did_you_mean(name, known)}")
            if name not in needs
            else ("output.columns", f"{name!r} is not measured: {needs[name]}")
            for name in self.output.columns
            if name not in known
        )
        self.refuse(self._clusters_balance_lacks())
        if self.augment is not None and self.augment.wordnet is not None:
            try:
                wordnet(self.augment.wordnet)
            except (OSError, ValueError) as error:
                self.refuse([("augment.wordnet", str(error))])

    def _clusters_balance_lacks(self) -> Iterator[tuple[str, str]]:
        """Options of balance that go by near-duplicates, where these are not to be had."""
        balance, near = self.balance, self.dedup.near if self.dedup else None
        if balance is None or not balance.needs_clusters():
            return
        if balance.rehydrate and self.order != ORDERS[1]:
            what = "goes by how often a text repeats, and a filter before dedup hides some of that"
            yield "balance.rehydrate", f"{what}: set order: [{', '.join(ORDERS[1])}]"
        if balance.rehydrate and near is not None and not near.drop:
            what = "repeats what stands for its cluster, and here the whole cluster stays"
            yield "balance.rehydrate", f"{what}: set dedup.near.drop: true"
        if balance.caps.cluster is not None and (near is None or near.drop):
            what = "one document of each cluster is left after dedup, so there is nothing to cap"
            yield "balance.caps.cluster", f"{what}: set dedup.near.drop: false"
        elif self.dedup is None:
            option = "rehydrate" if balance.rehydrate else "by"
            yield f"balance.{option}", "nothing says what is alike without dedup: set dedup: {}"

    def check_columns(self, columns: Mapping[str, pl.DataType]) -> None:
        """Refuse decisions that the input's columns, without the text, and measures cannot give.

        Errors: RecipeError, with all that is wrong, each with its place.
        """
        own = {name: f"measure.models.{name}" for name in self.measure.models}
        own |= dict.fromkeys(OF_EVALUATIONS, "measure.evaluations")
        own |= dict.fromkeys(OF_CUTS, "cuts") | {"tokens": "measure.tokenizer"}
        taken = (
            (own.get(name, "measure.custom"), f"{name!r} is a column of the input, too; rename one")
            for name in (*self.measure.own(), *(CUT_MEASURES if self.cuts else ()))
            if name in columns
        )
        self.refuse(taken)
        by = self.dedup.column if self.dedup else None
        missing = [] if by is None or by.name in columns else [by.name]
        self.refuse(
            ("dedup.column", f"{name!r} is no column of the input{did_you_mean(name, columns)}")
            for name in missing
        )
        self.refuse(self._problems({**columns, **self.measured(), "id": pl.String()}))

    def unbounded(self) -> Iterator[str]:
        """What to tell of evaluation sets that are looked for, and by which nothing is dropped."""
        decides = {*self.filter.columns()} & {*OF_EVALUATIONS}
        if self.measure.evaluations is not None and not decides:
            yield (
                "measure.evaluations looks for evaluation sets, and no rule drops what holds them: "
                "set filter.seen_example_frac: {high: 0.5}"
            )

    def refuse(self, problems: Iterable[tuple[str, str]]) -> None:
        """Raise what is wrong with options, given as (option, why), each with its place, if any is.

        Errors: RecipeError.
        """
        told = [self._written.tell(option, what) for option, what in problems]
        if told:
            raise RecipeError("\n".join(told))

    def _problems(self, known: Mapping[str, pl.DataType]) -> Iterator[tuple[str, str]]:
        yield from ((f"filter.{rule}", what) for rule, what in self.filter.problems(known))
        asked = self.balance.asks() if self.balance else ()
        wanted = [(f"balance.{option}", name) for option, name in asked]
        wanted += [("dedup.near.keep", name) for name in self._keep()]
        if self.augment is not None and (held := self.augment.held_out) is not None:
            wanted.append(("augment.held_out", held))
            if held in known and known[held] not in {pl.Boolean(), pl.Null()}:
                yield (
                    "augment.held_out",
                    f"{held!r} is a column of {known[held]}, not true or false",
                )
        for option, name in wanted:
            if name not in known:
                yield option, f"{name!r} is no measure and no column{did_you_mean(name, known)}"
        if self.balance and self.balance.unit == "tokens" and self.measure.tokenizer is None:
            yield "balance.unit", NO_TOKENS
        for name in self.balance.buckets if self.balance else ():
            if name in known and not known[name].is_numeric():
                yield "balance.buckets", f"{name!r} is a column of {known[name]}, not of numbers"
        yield from self._gate_problems(known)

    def _gate_problems(self, known: Mapping[str, pl.DataType]) -> Iterator[tuple[str, str]]:
        if "lang_und_share" in self.gates.root and "lang" not in known:
            yield "gates.lang_und_share", "no language is measured: set measure.language: true"
        for metric in self.gates.root:
            if metric.startswith(DRIFT) and (name := measure_of(metric)[1]) not in known:
                yield f"gates.{metric}", f"{name!r} is not measured{did_you_mean(name, known)}"

"""Others' layouts and recipes -> a recipe of ours, and what of theirs it says and does not.

Nothing is guessed: an operator is `taken` where ours does the same by definition, `near` where it
does about the same (how it differs is said), and `left out` where nothing of ours does it.
"""

import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ruamel.yaml import YAML

from cleanpipe.errors import InputError
from cleanpipe.recipes.recipe_tree import Node, Place, read, text_of

Outcome = Literal["taken", "near", "left out"]
Options = Mapping[str, Any]
SHARD = re.compile(r"\d{5,}\.(?:jsonl(?:\.gz|\.zst)?|parquet)")
NO_DOCUMENTS = ("logs", "removed", "signatures", "buckets", "remove_ids", "tokenized", "stats")
"""Folders that datatrove's examples write beside documents, or of documents that were dropped."""


@dataclass(frozen=True)
class Line:
    """What became of one option or operator of theirs."""

    place: Place
    name: str
    outcome: Outcome
    note: str

    def told(self) -> str:
        """For people: place, name, outcome, and what differs."""
        line = f"{self.place.name}:{self.place.line}" if self.place.line else self.place.name
        return f"{line}: {self.name}: {self.outcome}" + (f"; {self.note}" if self.note else "")


@dataclass
class Found:
    """A recipe in the making."""

    tree: dict[str, Any] = field(default_factory=dict)
    where: list[str] = field(default_factory=list)
    """Predicates that are to hold together."""
    lines: list[Line] = field(default_factory=list)

    def put(self, path: str, value: object) -> None:
        """Set an option by its dotted path; a list grows."""
        *sections, last = path.split(".")
        here = self.tree
        for name in sections:
            here = here.setdefault(name, {})
        if isinstance(value, list) and isinstance(here.get(last), list):
            value = [*here[last], *(one for one in value if one not in here[last])]
        elif isinstance(value, dict) and isinstance(here.get(last), dict):
            value = here[last] | value
        here[last] = value

    def yaml(self) -> str:
        """The recipe as YAML."""
        tree = {"version": 1, **self.tree}
        if self.where:
            tree["filter"] = {**tree.get("filter", {}), "where": " AND ".join(self.where)}
        yaml: Any = YAML(typ="safe", pure=True)
        yaml.default_flow_style = False
        yaml.allow_unicode = True
        yaml.width = 100
        yaml.sort_base_mapping_type_on_output = False
        text = io.StringIO()
        yaml.dump(tree, text)
        return text.getvalue()


Take = Callable[[Found, Options], tuple[Outcome, str]]


def _bounds(measure: str, low: str, high: str, outcome: Outcome = "taken", note: str = "") -> Take:
    """An operator that is bounds on a measure: the names of its least and its most."""

    def take(found: Found, options: Options) -> tuple[Outcome, str]:
        given = {"low": options.get(low), "high": options.get(high)}
        found.put(f"filter.{measure}", {side: n for side, n in given.items() if n is not None})
        return outcome, note

    return take


def _fix(name: str, outcome: Outcome, note: str) -> Take:
    def take(found: Found, _options: Options) -> tuple[Outcome, str]:
        found.put("normalize.fixes", [f"+{name}"])
        return outcome, note

    return take


def _placeholder(path: str, name: str | None) -> Take:
    def take(found: Found, options: Options) -> tuple[Outcome, str]:
        sign = str(options.get("repl", ""))
        found.put(path, {name: sign} if name else sign)
        return "near", "what is found differs a little: ours is tested against datatrove's spans"

    return take


def _line_length(found: Found, options: Options) -> tuple[Outcome, str]:
    for name, sign in (("min_len", ">="), ("max_len", "<=")):
        if name in options:
            found.where.append(f"chars {sign} {options[name]:g} * lines")
    return "near", "characters over lines, where newlines count"


def _language(found: Found, options: Options) -> tuple[Outcome, str]:
    langs = options.get("lang") or ()
    langs = [langs] if isinstance(langs, str) else list(langs)
    if langs:
        found.where.append("lang IN (" + ", ".join(f"'{_plain(one)}'" for one in langs) + ")")
    found.put("filter.lang_score", {"low": options.get("min_score", 0.8)})
    return "near", "the same model; ours reads 600 bytes of head, middle and tail"


def _word_repetition(found: Found, options: Options) -> tuple[Outcome, str]:
    size = options.get("rep_len", 10)
    if not 5 <= size <= 10:
        return "left out", f"ours measures repeats of 5 to 10 words, not {size}"
    most = options.get("max_ratio", 0.5)
    found.put(f"filter.dup_{size}gram_char_frac", {"high": most})
    return "near", "ours counts characters of n-grams that occurred before, theirs words"


def _exact(found: Found, options: Options) -> tuple[Outcome, str]:
    found.put("dedup.exact", value=True)
    loose = [name for name in ("lowercase", "ignore_non_character") if options.get(name)]
    if loose:
        return "near", f"{' and '.join(loose)}: ours are equal after normalizing, case and all"
    return "taken", ""


def _minhash(found: Found, options: Options) -> tuple[Outcome, str]:
    kinds = {"space": "words", "punctuation": "words", "character": "chars"}
    kind = kinds.get(options.get("tokenization", "space"))
    if kind is None:
        return "left out", "ours makes shingles of words or of characters, not of a tokenizer's"
    found.put(
        "dedup.near",
        {
            "threshold": options.get("jaccard_threshold", 0.7),
            "ngram": options.get("window_size", 5),
            "num_perm": options.get("num_permutations", 256),
            "shingle": kind,
        },
    )
    found.put("order", ["dedup", "filter", "balance"])
    return "near", "ours drops only what an exact similarity verifies; bands are chosen anew"


def _unlike(note: str) -> Take:
    return lambda _found, _options: ("left out", note)


OPERATORS: Mapping[str, Take] = {
    "fix_unicode_mapper": lambda _found, _options: ("taken", "on by default: normalize.fixes"),
    "whitespace_normalization_mapper": lambda _found, _options: (
        "near",
        "on by default, as spaces and blank_lines; kinds of spaces stay",
    ),
    "punctuation_normalization_mapper": _fix(
        "nfkc", "near", "Unicode's compatible form: full-width marks, but no quotes"
    ),
    "clean_html_mapper": _fix("html", "near", "tags go, and more of the text's own marks stay"),
    "clean_email_mapper": _placeholder("normalize.pii", "email"),
    "clean_ip_mapper": _placeholder("normalize.pii", "ip"),
    "clean_links_mapper": _placeholder("normalize.urls", None),
    "text_length_filter": _bounds("chars", "min_len", "max_len"),
    "words_num_filter": _bounds("words", "min_num", "max_num", "near", "what a word is differs"),
    "average_line_length_filter": _line_length,
    "language_id_score_filter": _language,
    "word_repetition_filter": _word_repetition,
    "document_deduplicator": _exact,
    "ray_document_deduplicator": _exact,
    "document_minhash_deduplicator": _minhash,
    "ray_bts_minhash_deduplicator": _minhash,
    "document_simhash_deduplicator": _unlike("dedup.near finds such, by MinHash: add dedup: {}"),
    "perplexity_filter": _unlike("a model of yours can judge: measure.models"),
    "flagged_words_filter": _unlike("a function of yours can count: measure.custom"),
    "stopwords_filter": _unlike("stop_words counts which of eight English ones occur"),
    "token_num_filter": _unlike("set measure.tokenizer to its tokenizer.json and bound tokens"),
}
"""What is made of Data-Juicer's operators; every other one has no counterpart."""


def data_juicer(path: Path) -> Found:
    """A recipe of Data-Juicer as one of ours, with a line for every option and operator.

    Errors: RecipeError for a file that is no YAML mapping, or has no `process`.
    """
    root = read(_with_nulls(text_of(path, path.name)), path.name)
    if root is None:
        raise Place(path.name).refuse("expected a Data-Juicer recipe, found an empty file")
    if not isinstance(root.value, dict) or "process" not in root.value:
        raise root.place.refuse("expected a Data-Juicer recipe: a mapping with `process`")
    found = Found()
    for name, node in root.value.items():
        if name != "process":
            found.lines.append(Line(node.key, name, *_global(found, name, node.plain())))
    steps = root.value["process"]
    for step in steps.value if isinstance(steps.value, list) else ():
        found.lines += _steps(found, step)
    found.tree.setdefault("input", [{"path": "FOLDER"}])
    found.tree.setdefault("output", {"path": "clean"})
    return found


EMPTY = re.compile(r"^(\s*(?:- +)?)[\w-]+:(?=\s*(?:#.*)?$)")


def _with_nulls(text: str) -> str:
    """Keys without a value with `null` behind them: theirs often have none, ours never."""
    lines = text.split("\n")
    after = ""
    for number, line in reversed([*enumerate(lines)]):
        found = EMPTY.match(line)
        indent = len(after) - len(after.lstrip())
        if found:
            is_list = after.lstrip().startswith("- ") and "-" not in found[1]
            if indent < len(found[1]) + (not is_list):
                lines[number] = f"{line[: found.end()]} null{line[found.end() :]}"
        if line.strip() and not line.lstrip().startswith("#"):
            after = line
    return "\n".join(lines)


def _steps(found: Found, step: Node) -> list[Line]:
    """The line of one operator, `name` or `{name: options}`."""
    given = step.value if isinstance(step.value, dict) else {str(step.value): step}
    lines = []
    for name, node in given.items():
        plain = node.plain()
        options = plain if isinstance(plain, dict) else {}
        take = OPERATORS.get(name, _unlike("nothing of ours does this"))
        try:
            outcome, note = take(found, options)
        except (TypeError, ValueError):
            outcome, note = "left out", "its options are not of the types they should have"
        lines.append(Line(node.key, name, outcome, note))
    return lines


def _global(found: Found, name: str, value: object) -> tuple[Outcome, str]:
    if name == "dataset_path" and isinstance(value, str):
        found.put("input", [{"path": value}])
        return "taken", "as input"
    if name == "export_path" and isinstance(value, str):
        found.put("output", {"path": str(Path(value).with_suffix(""))})
        return "near", "as output.path, a folder of parts and books"
    if name == "text_keys":
        keys = [value] if isinstance(value, str) else list(value or ())  # type: ignore[call-overload]
        if len(keys) == 1:
            for one in found.tree.setdefault("input", [{"path": "FOLDER"}]):
                one["text"] = keys[0]
            return "taken", "as input.text"
        return "left out", "ours reads one text column"
    if name == "np":
        return "left out", f"say it when you run: cleanpipe run --workers {value}"
    return "left out", "an option of their own run"


def datatrove(folder: Path) -> Found:
    """A recipe that reads what datatrove's writers left in a folder: `00000.jsonl.gz` and the like.

    An input for each folder that holds such shards, named by its path; `id` is theirs, and the
    fields of `metadata` become columns. Errors: InputError where no shard is found.
    """
    shards: dict[tuple[Path, str], int] = {}
    left: dict[str, int] = {}
    for path in sorted(folder.rglob("*")):
        if not SHARD.fullmatch(path.name):
            continue
        inside = path.relative_to(folder).parent
        skipped = next((part for part in inside.parts if part in NO_DOCUMENTS), None)
        if skipped:
            left[skipped] = left.get(skipped, 0) + 1
        else:
            ending = path.name.partition(".")[2]
            shards[inside, ending] = shards.get((inside, ending), 0) + 1
    if not shards:
        raise InputError(
            f"{folder} holds no shard of datatrove's writers, such as 00000.jsonl.gz or "
            "00000.parquet: name the folder of its output"
        )
    found = Found()
    inputs = []
    for (inside, ending), count in shards.items():
        source = inside.as_posix() if inside.parts else folder.resolve().name
        pattern = (folder / inside / f"*.{ending}").as_posix()
        inputs.append({"path": pattern, "source": source, "id": "id", "unnest": "metadata"})
        found.lines.append(Line(Place(pattern), f"{count:,} shards", "taken", ""))
    for name, count in sorted(left.items()):
        note = "documents that a filter dropped" if name == "removed" else "no documents"
        found.lines.append(Line(Place(name), f"{count:,} files", "left out", note))
    found.tree = {"input": inputs, "output": {"path": "clean"}}
    return found


def _plain(text: object) -> str:
    """A value inside the quotes of a predicate."""
    return str(text).replace("'", "''")

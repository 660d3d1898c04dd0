"""`filter.where`: a SQL predicate over measures and columns, which can read nothing else.

Polars' SQL opens files and URLs while it parses: `words IN (SELECT a FROM read_csv('/etc/passwd'))`
reads that file before anything is evaluated. So a predicate is cut into tokens here first, and only
what is known to be a pure expression on one row reaches Polars: known keywords, functions on a
list, literals and names. Everything else is refused, which needs no list of what is dangerous.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise

import polars as pl

from cleanpipe.nearest import did_you_mean

# fmt: off
FUNCTIONS = frozenset({
    "ABS", "CEIL", "COALESCE", "ENDS_WITH", "FLOOR", "GREATEST", "IFNULL", "LEAST",
    "LEFT", "LENGTH", "LOWER", "LTRIM", "NULLIF", "REPLACE", "RIGHT", "ROUND", "RTRIM",
    "STARTS_WITH", "STRPOS", "SUBSTR", "TRIM", "TRY_CAST", "UPPER"
})
KEYWORDS = frozenset({
    "AND", "AS", "BETWEEN", "CASE", "ELSE", "END", "FALSE", "ILIKE", "IN", "IS", "LIKE",
    "NOT", "NULL", "OR", "THEN", "TRUE", "WHEN"
})
# fmt: on
TYPES = frozenset({"BIGINT", "BOOLEAN", "DATE", "DOUBLE", "VARCHAR"})
# Polars 2.1 recurses: 800 times `||` in a row overflow its stack, which kills the process; 400 do
# not. Commas do not nest, so a list behind IN may be as long as the characters allow.
MAX_CHARS = 20_000
MAX_DEPTH = 30
MAX_OPERATORS = 100

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
      | (?P<string>'(?:[^']|'')*')
      | (?P<name>"(?:[^"]|"")*")
      | (?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)
      | (?P<word>[A-Za-z_][A-Za-z_0-9]*)
      | (?P<comment>--|/\*)
      | (?P<operator><=|>=|<>|!=|\|\||[=<>+\-*/%,()])""",
    re.VERBOSE | re.ASCII,
)
_JOINED = {("word", "string"), ("word", "name"), ("number", "word"), ("string", "string")}


def _tokens(predicate: str) -> Iterator[tuple[str, str]]:
    place, previous = 0, ""
    while place < len(predicate):
        found = _TOKEN.match(predicate, place)
        if found is None or found.lastgroup is None or found.lastgroup == "comment":
            rest = predicate[place : place + 12]
            raise ValueError(
                f"{rest!r} is not understood: only comparisons, AND, OR, NOT, IN, LIKE, BETWEEN, "
                f"CASE, literals, names and listed functions are allowed"
            )
        kind, text = found.lastgroup, found.group()
        if (previous, kind) in _JOINED:  # E'..', U&"..", 0x..: literals of other dialects
            raise ValueError(f"{text!r} follows the character before it without a space")
        if kind == "string" and "\\'" in text:  # some dialects read \' as a quote
            raise ValueError(f"{text!r}: a backslash before a quote is not allowed")
        if kind != "space":
            yield kind, text
        place, previous = found.end(), kind


def _refuse(text: str, *, is_call: bool) -> None:
    if text.upper() in {"SELECT", "FROM"}:
        raise ValueError(f"{text!r} is not allowed: a predicate reads one document's row only")
    if is_call:
        listed = f"; these are: {', '.join(sorted(FUNCTIONS))}"
        near = did_you_mean(text.upper(), FUNCTIONS) or listed
        raise ValueError(f"function {text!r} is not allowed{near}")


def names(predicate: str) -> tuple[str, ...]:
    """The columns that a predicate reads, in order of appearance; refused before anything parses.

    Errors: ValueError for anything but a pure expression on one row.

    >>> names("lang IN ('en', 'de') AND LENGTH(source) > 3")
    ('lang', 'source')
    >>> names("words IN (SELECT a FROM read_csv('x'))")
    Traceback (most recent call last):
    ValueError: 'SELECT' is not allowed: a predicate reads one document's row only
    """
    if len(predicate) > MAX_CHARS:
        raise ValueError(f"{len(predicate)} characters, at most {MAX_CHARS:,} are read")
    tokens = [*_tokens(predicate), ("end", "")]
    if len(tokens) == 1:
        raise ValueError("is empty: leave it out, or write a predicate such as words > 10")
    operators = sum(kind == "operator" and text not in "(,)" for kind, text in tokens) + sum(
        kind == "word" and text.upper() in KEYWORDS for kind, text in tokens
    )
    if operators > MAX_OPERATORS:
        raise ValueError(f"{operators} operators and keywords, at most {MAX_OPERATORS} are read")
    found: dict[str, None] = {}
    depth, before = 0, ""
    for (kind, text), (next_kind, next_text) in pairwise(tokens):
        depth += (text == "(") - (text == ")")
        if depth > MAX_DEPTH:
            raise ValueError(f"parentheses {depth} deep, at most {MAX_DEPTH} are read")
        upper, is_call = text.upper(), next_text == "("
        if kind == "name":
            _refuse(text, is_call=is_call)
            found[text[1:-1].replace('""', '"')] = None
        elif kind == "word" and before == "AS":
            if upper not in TYPES:
                raise ValueError(f"{text!r} is no type; these are: {', '.join(sorted(TYPES))}")
        elif kind == "word" and not (
            upper in KEYWORDS
            or (is_call and upper in FUNCTIONS)
            or (upper == "DATE" and next_kind == "string")
        ):
            _refuse(text, is_call=is_call)
            found[text] = None
        before = upper
    return tuple(found)


def expression(predicate: str) -> pl.Expr:
    """The predicate as a Polars expression, null counted as false.

    Errors: ValueError for what `names` refuses and what is no SQL expression.

    >>> frame = pl.DataFrame({"words": [5, 50, None]})
    >>> frame.select(expression("words > 10")).to_series().to_list()
    [False, True, False]
    """
    wanted = names(predicate)
    try:
        parsed = pl.sql_expr(predicate)
        read = set(parsed.meta.root_names())
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise ValueError(f"is no SQL predicate: {_first_line(error)}") from None
    if read - set(wanted):  # cannot happen while both tokenizers agree; then nothing is evaluated
        raise ValueError(f"reads {sorted(read - set(wanted))}, which are not among its names")
    unread = [name for name in wanted if name not in read]
    if unread:  # CURRENT_DATE and its like: the same corpus would give another result tomorrow
        raise ValueError(f"{unread[0]!r} is no column; a column of that name needs double quotes")
    return parsed.alias("where").fill_null(value=False)


def check(predicate: str, columns: Mapping[str, pl.DataType]) -> None:
    """Refuse names that are not among the columns, and a predicate that is not true or false.

    Errors: ValueError.

    >>> check("words + 1", {"words": pl.Int64()})
    Traceback (most recent call last):
    ValueError: gives Int64, a predicate is true or false: compare it with something
    """
    for name in names(predicate):
        if name not in columns:
            raise ValueError(
                f"{name!r} is neither a measure nor a column{did_you_mean(name, columns)}"
            )
    frame = pl.DataFrame(schema=dict(columns)).with_columns(*typed(predicate, columns))
    try:
        # fill_null would turn a null type into Boolean and hide what the predicate itself gives
        kind = frame.select(pl.sql_expr(predicate).alias("where")).schema["where"]
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise ValueError(f"cannot be computed: {_first_line(error)}") from None
    if kind != pl.Boolean:
        raise ValueError(f"gives {kind}, a predicate is true or false: compare it with something")


def typed(predicate: str, columns: Mapping[str, pl.DataType]) -> list[pl.Expr]:
    """Columns as the predicate needs them, where that is not as they are.

    Unsigned ones as Int64: `words - 100 > 5` would wrap around zero in an unsigned column. Those
    that hold nulls alone, and so have no type, as text if it can be computed only then: LIKE.
    """
    ours = [pl.col(n).cast(pl.Int64) for n, kind in columns.items() if kind.is_unsigned_integer()]
    untyped = [pl.col(name).cast(pl.String) for name, kind in columns.items() if kind == pl.Null]
    frame = pl.DataFrame(schema=dict(columns)).with_columns(*ours)
    try:
        frame.select(pl.sql_expr(predicate))
    except pl.exceptions.PolarsError:
        return [*ours, *untyped]
    return ours


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]

"""The name that was probably meant."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the nearest known name, or nothing.

    >>> did_you_mean("wrods", ["words", "lines"])
    "; did you mean 'words'?"
    >>> did_you_mean("Words", ["words"])
    "; did you mean 'words'?"
    >>> did_you_mean("zebra", ["words"])
    ''
    """
    folded = {candidate.casefold(): candidate for candidate in known}
    near = difflib.get_close_matches(name.casefold(), folded, n=1)
    return f"; did you mean {folded[near[0]]!r}?" if near else ""


def listed(names: Iterable[str], most: int = 10) -> str:
    """Names in their order, and how many there are beside them.

    >>> listed(["b", "a", "c"], 2)
    'a, b and 1 more'
    """
    ordered = sorted(names)
    more = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return ", ".join(ordered[:most]) + more

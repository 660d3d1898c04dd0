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

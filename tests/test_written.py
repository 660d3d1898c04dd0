"""Tokens as written: the slow reference, and cases whose tokens anybody can count."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from written_reference import written_tokens

from cleanpipe.kernels.buffers import text_buffers
from cleanpipe.kernels.counts import Count
from cleanpipe.kernels.scan import scan

NO_SIGNATURE = np.zeros(0, np.uint32)
PIECES = [
    "a",
    "B",
    "bc",
    "U.S.",
    "12",
    "3.5",
    "don't",
    "\u00e9",
    "\u6f22",
    "http://x.org/a?b",
    "a@b.de",
]
MARKS = list(".,:;!?()[]<>=/+-*^~_#'\"@\\|$%&`\u2026\u2013\u2014\u201c\u3002 \n\u00a0")


def counted(text):
    counts, *_ = scan(
        *text_buffers(pa.array([text], pa.large_string())), 1, NO_SIGNATURE, NO_SIGNATURE
    )
    return int(counts[0, Count.WRITTEN]), int(counts[0, Count.WRITTEN_ALPHA])


@pytest.mark.parametrize(
    ("text", "tokens", "alpha"),
    [
        ("", 0, 0),
        (" \n ", 0, 0),
        ("(see above).", 5, 2),
        ("and/or", 3, 2),
        ("well-known facts", 4, 3),
        ("at 3:15, on 1/2/99", 5, 2),
        ("a_b.txt", 1, 1),
        ("'quoted'", 3, 1),
        ("don't", 2, 2),
        ("wait... what", 3, 2),
        ("the U.S. of A", 4, 4),
        ("The end.", 3, 2),
        ("end.Next", 3, 2),
        ("http://example.org/a-b/c?d=e", 1, 1),
        ("<me@example.org>,", 4, 1),
        (">>> text", 4, 1),
        ("-----", 1, 0),
        ("100% of $5", 4, 1),
        ("\u201cja\u201d", 3, 1),
        ("10-12", 3, 0),
        ("\u6c34\u306f\u6e05\u3044\u3002", 5, 4),
        ("a1\u6c34b", 3, 3),
        ("1\x00-a", 1, 1),
    ],
)
def test_tokens_as_written(text, tokens, alpha):
    """Marks at both ends are tokens, those inside part only where language parts."""
    assert counted(text) == (tokens, alpha)


@given(st.lists(st.sampled_from(PIECES + MARKS), max_size=25).map("".join))
def test_the_kernel_counts_as_the_reference(text):
    """Whatever stands beside what."""
    assert counted(text) == written_tokens(text)

"""Each 4-byte word of small Arrow and Parquet files replaced by four others, one at a time."""

import sys

import pytest
from test_readers import KINDS_OF_TABLE, replace_words

pytestmark = pytest.mark.proof


@pytest.mark.parametrize("kind", KINDS_OF_TABLE)
def test_any_word_replaced_is_no_crash(tmp_path, kind):
    """A clean line of quarantine or a right result, never a signal."""
    files = replace_words(tmp_path, kind, step=4)
    sys.stdout.write(f"{kind}: {files} files\n")
    assert files > 600

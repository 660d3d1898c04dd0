"""normalize and ftfy on every document of every corpus, and on clean ones with damage put in."""

import ftfy
import pyarrow as pa
import pytest
from real_texts import CORPORA, records, spliced, texts

from cleanpipe.text.fixes import DEFAULT
from cleanpipe.text.normalize import Normalize

pytestmark = [pytest.mark.proof, pytest.mark.timeout(3600)]
SIX = Normalize(fixes=DEFAULT[:6])
CONFIG = ftfy.TextFixerConfig(
    fix_latin_ligatures=False, fix_character_width=False, uncurl_quotes=False
)


def arrow(some):
    return pa.array(some, pa.large_string())


def assert_equal_to_ftfy(some):
    """Our text is ftfy's, document by document, and nothing is given up; how many it changed."""
    ours = SIX.apply(arrow(some))
    assert not ours.unsettled.any()
    changed = 0
    for text, bits, repaired in zip(some, ours.fixes, ours.texts.to_pylist(), strict=True):
        assert repaired == ftfy.fix_and_explain(text, CONFIG).text
        assert (bits != 0) == (repaired != text)
        changed += repaired != text
    return changed


@pytest.mark.parametrize("corpus", CORPORA)
def test_equal_to_ftfy_on_every_document(corpora, corpus):
    """All fields that are text: 11 corpora, their right and wrong readings, labels and names."""
    assert_equal_to_ftfy(texts(corpus, corpora))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.05, 1.0])
def test_equal_to_ftfy_on_clean_text_with_damage_put_in(corpora, share):
    """100,000 descriptions, a share of which holds one of ftfy's own cases at a random place."""
    known = texts("debian_descriptions", corpora)
    unchanged = SIX.apply(arrow(known)).fixes == 0
    clean = [text for text, same in zip(known, unchanged, strict=True) if same][:100_000]
    damaged = [case["original"] for case in records("ftfy_cases", corpora)]
    changed = assert_equal_to_ftfy(spliced(clean, damaged, share))
    assert share * 50_000 <= changed <= share * 100_000

"""What dedup finds of whole corpora, against all similar pairs of them."""

import sys

import numpy as np
import polars as pl
import pytest
from dedup_quality import bands_of, found, quality

from cleanpipe.duplicates.dedup import Near

pytestmark = pytest.mark.proof


def tell(line):
    sys.stdout.write(f"\n{line}\n")


@pytest.mark.parametrize("corpus", ["20news_bydate", "debian_descriptions"])
def test_nearly_all_similar_pairs_are_found(corpora, write_recipe, tmp_path, corpus):
    """Of pairs from 0.85 at least 98 % are compared, from 0.8 90 %; 1 % at most keep a partner."""
    texts = pl.read_ndjson(corpora / corpus / "data.jsonl.zst")["text"]
    known = quality(write_recipe, tmp_path, texts, Near())
    tell(f"{corpus}: {known}")
    assert known["from_0.85"] >= 0.98
    assert known["from_0.80"] >= 0.90
    assert known["left"] <= 0.01


def test_recall_follows_the_threshold_on_licences(corpora):
    """Bands made for a threshold find 99 % of the pairs of one licence that reach it."""
    folder = corpora / "scancode_license_rules"
    table = pl.read_ndjson(folder / "data.jsonl.zst")
    pairs = pl.read_ndjson(folder / "pairs_same_license.jsonl.zst")
    place = {name: row for row, name in enumerate(table["id"])}
    one, other = (np.array([place[name] for name in pairs[side]]) for side in ("a", "b"))
    jaccard = pairs["jaccard_w5"].to_numpy()
    for threshold in (0.7, 0.8, 0.9):
        near = Near(threshold=threshold)
        met = found(bands_of(table["text"], near), one, other)
        curve = []
        for low in np.arange(0.5, 1.0, 0.05):
            inside = (jaccard >= low) & (jaccard < low + 0.05)
            curve.append(f"{low:.2f} {met[inside].mean():.3f}")
        tell(f"threshold {threshold}, {near.bands_and_rows()}: {', '.join(curve)}")
        assert met[jaccard >= threshold].mean() >= 0.985

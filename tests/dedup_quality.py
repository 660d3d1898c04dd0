"""How much of what is similar dedup finds, and what it leaves: counted on a whole corpus."""

import numpy as np
import polars as pl
from conftest import InProcess
from similar_pairs import sets_of, similar_pairs

from cleanpipe import signatures
from cleanpipe.kernels.minhash import band_hashes
from cleanpipe.recipes.recipe_file import load
from cleanpipe.run import Work, all_steps, silent

SEED = 7
"""The seed of `write_recipe`."""


def bands_of(texts, near):
    """Each text's band hashes, as a run with that seed makes them."""
    made = signatures(texts, num_perm=near.num_perm, ngram=near.ngram, seed=SEED)
    return band_hashes(made, *near.bands_and_rows(), np.uint64(SEED))


def found(bands, one, other):
    """Which pairs share a band, and are so compared."""
    return (bands[one] == bands[other]).any(axis=1)


def deduplicated(write_recipe, tmp_path, texts):
    """Which of these texts a run keeps that does nothing but drop duplicates."""
    (tmp_path / "in").mkdir()
    pl.DataFrame({"text": texts}).write_parquet(tmp_path / "in" / "0.parquet")
    recipe = load(
        write_recipe(
            input={"path": str(tmp_path / "in" / "*.parquet")},
            normalize=False,
            measure={"language": False},
            dedup={},
            output={"path": str(tmp_path / "out")},
        )
    )
    run = all_steps(Work(recipe, InProcess(), silent))
    verdicts = run.verdicts.select("row", "verdict").collect().sort("row")
    assert verdicts.height == len(texts)
    return (verdicts["verdict"] == "kept").to_numpy()


def quality(write_recipe, tmp_path, texts, near):
    """(share of pairs found from 0.85, from 0.8; share of kept documents with a kept partner)."""
    texts = texts.unique(maintain_order=True)
    one, other, jaccard = similar_pairs(*sets_of(texts, near.ngram), 0.8)
    met = found(bands_of(texts, near), one, other)
    kept = deduplicated(write_recipe, tmp_path, texts)
    left = kept[one] & kept[other]
    partners = np.unique(np.concatenate([one[left], other[left]]))
    return {
        "pairs": len(one),
        "from_0.85": float(met[jaccard >= 0.85].mean()),
        "from_0.80": float(met.mean()),
        "left": len(partners) / int(kept.sum()),
    }

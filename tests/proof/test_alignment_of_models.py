"""The alignment test on a small GPT and real text: the true order is verified, wrong ones are not.

A model of 1 layer and 32 dimensions learns 1,200 batches of 8 sequences of 64 tokens, once in the
order of the export; its losses are then compared with that order, with shifted ones and with orders
of other seeds.
"""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from exported import made, stream
from real_texts import records

from cleanpipe.export import mappers
from cleanpipe.stability.attribution.alignment import by_losses, difficulty

pytestmark = [pytest.mark.proof, pytest.mark.corpora]
STEPS, SEQUENCES, LENGTH = 1_200, 8, 64


def texts_of(corpora, names, most):
    """Documents of several corpora, mixed, each cut to 3,000 characters."""
    found = [r["text"][:3_000] for name in names for r in records(name, corpora)[:most]]
    return [found[place] for place in np.random.default_rng(0).permutation(len(found))]


@pytest.mark.parametrize("seed", range(3))
def test_a_small_gpt_tells_its_order(corpora, tmp_path, seed, capsys):
    """Verified at lag 0; refused when shifted by 1 or 20, and for 20 orders of other seeds."""
    pytest.importorskip("torch")
    from cleanpipe.stability.probe.model import Shape
    from cleanpipe.stability.probe.packing import trained_tokenizer
    from cleanpipe.stability.probe.training import Optimizer, Trainer

    texts = texts_of(corpora, ("novels_en", "20news_bydate", "debian_descriptions"), 1_500)
    tokenizer = trained_tokenizer(texts[:600], 512)
    encoded = [[*e.ids, 0] for e in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
    keep = np.random.default_rng(seed).permutation(len(encoded))
    tokens = np.concatenate([encoded[place] for place in keep])
    export = made(tmp_path / "e", [len(encoded[place]) for place in keep], tokens=tokens)
    order = mappers.llmc(export, sequences=SEQUENCES, length=LENGTH, steps=STEPS, rule="python")
    ids = stream(export).astype(np.int64)
    trainer = Trainer.begin(Shape(512, 32, 1, 2, LENGTH), Optimizer(lr=3e-3), seed)
    losses = []
    for start in order["start"]:
        own = start + np.arange(SEQUENCES)[:, None] * LENGTH + np.arange(LENGTH + 1)
        losses.append(trainer.take(ids[own])["loss"])
    steps, foretold = difficulty(export, order)
    logged = np.arange(STEPS)
    proof = by_losses(steps, foretold, logged, np.array(losses))
    with capsys.disabled():
        sys.stdout.write(f"\nseed {seed}: {proof.said}\n")
    assert proof.verified
    for shift in (1, -20):
        wrong = by_losses(steps, foretold, logged + shift, np.array(losses))
        assert (wrong.verified, wrong.lag) == (False, shift)
    for other in range(20):
        chance = np.random.default_rng(other)
        wrong = by_losses(steps, chance.permutation(foretold), logged, np.array(losses))
        assert not wrong.verified

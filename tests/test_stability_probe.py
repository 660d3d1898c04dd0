"""The small model, its loop, packing and faults: torch and tokenizers are an extra."""

from itertools import pairwise

import numpy as np
import orjson
import pytest

torch = pytest.importorskip("torch", reason="the extra probe is not installed")
pytest.importorskip("tokenizers", reason="the extra probe is not installed")

from cleanpipe.stability.probe import packing  # noqa: E402
from cleanpipe.stability.probe.faults import FAULTS, Ground  # noqa: E402
from cleanpipe.stability.probe.model import Model, Shape  # noqa: E402
from cleanpipe.stability.probe.training import Machine, Optimizer, Trainer, copy_ratio  # noqa: E402

SHAPE = Shape(vocabulary=300, width=16, layers=2, heads=2, length=32)
WORDS = [
    *("the", "cat", "sat", "on", "a", "mat", "and", "did", "not", "see", "that"),
    "dogs",
    "went",
]
LETTERS = "Съешь же ещё этих мягких французских булок"


@pytest.fixture(scope="module")
def texts():
    chance = np.random.default_rng(0)
    return [" ".join(chance.choice(WORDS, chance.integers(20, 60))) for _ in range(80)] + [LETTERS]


@pytest.fixture(scope="module")
def tokenizer(texts):
    return packing.trained_tokenizer(texts, SHAPE.vocabulary)


@pytest.fixture(scope="module")
def packed(tokenizer, texts):
    return packing.packed(tokenizer, texts, SHAPE.length)


@pytest.mark.parametrize("qk_norm", [False, True])
def test_a_model_sees_the_past_only(qk_norm):
    """A later token changes no earlier logit; the largest attention logit is read."""
    model = Model(Shape(**{**SHAPE.__dict__, "qk_norm": qk_norm}), seed=1)
    ids = torch.arange(1, 33).reshape(1, 32)
    other = ids.clone()
    other[0, 20:] = 7
    before, after = model(ids), model(other)
    assert torch.allclose(before[:, :20], after[:, :20], atol=1e-6)
    assert not torch.allclose(before[:, 20:], after[:, 20:], atol=1e-3)
    assert model.largest_logit != 0
    assert sum(weight.numel() for weight in model.parameters()) == model.shape.parameters


def test_normalized_queries_and_keys_bound_the_logit():
    """With QK-norm no attention logit exceeds the root of a head's width, whatever the weights."""
    model = Model(Shape(**{**SHAPE.__dict__, "qk_norm": True}), seed=1)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 2:
                weight.mul_(100)
    model(torch.arange(1, 33).reshape(1, 32))
    assert 0 < model.largest_logit <= (SHAPE.width / SHAPE.heads) ** 0.5 + 1e-4


def test_training_learns_and_logs_a_line_a_step(packed, tmp_path):
    """The loss falls; each line has what a log reader looks for; tokens and steps add up."""
    log = tmp_path / "log.jsonl"
    trainer = Trainer.begin(SHAPE, Optimizer(lr=1e-2, warmup=5), seed=0, log=log)
    fixed = packed.sequences()[:8]
    first = trainer.loss(fixed)
    for step in range(30):
        trainer.take(packed.sequences(np.arange(8) + step))
    assert trainer.loss(fixed) < first - 1
    lines = [orjson.loads(line) for line in log.read_bytes().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 31))
    assert all(later["tokens"] - line["tokens"] == 8 * 32 for line, later in pairwise(lines))
    names = {"loss", "grad_norm", "lr", "max_attn_logit", "update_norm", "second_moment"}
    assert all(names <= line.keys() for line in lines)


def test_the_same_seed_trains_the_same_model_also_after_a_pause(packed, tmp_path):
    """Twenty steps are the same numbers again, and when the state is saved and read between."""

    def steps(trainer, numbers):
        return [trainer.take(packed.sequences(np.arange(4) + step)) for step in numbers]

    whole = steps(Trainer.begin(SHAPE, Optimizer(), seed=3), range(20))
    trainer = Trainer.begin(SHAPE, Optimizer(), seed=3)
    begun = steps(trainer, range(10))
    torch.save(trainer.state(), tmp_path / "state.pt")
    read = torch.load(tmp_path / "state.pt", weights_only=True)
    assert begun + steps(Trainer.resume(read), range(10, 20)) == whole
    assert steps(Trainer.begin(SHAPE, Optimizer(), seed=4), range(20)) != whole


def test_twins_of_one_state_do_not_touch_each_other(packed):
    """What a twin learns, or the trainer that they come from, changes neither state nor twin."""
    trainer = Trainer.begin(SHAPE, Optimizer(), seed=3)
    for step in range(5):
        trainer.take(packed.sequences(np.arange(4) + step))
    state = trainer.state()

    def learned(twin):
        return [twin.take(packed.sequences(np.arange(4) + step)) for step in range(5, 10)]

    assert learned(trainer) == learned(Trainer.resume(state)) == learned(Trainer.resume(state))


def test_the_copy_check_tells_what_copies_from_what_does_not(packed):
    """A model without training has the ratio 1; one that always says the token before, far less."""
    trainer = Trainer.begin(SHAPE, Optimizer(), seed=0)
    assert copy_ratio(trainer, packed.sequences()[:8]) == pytest.approx(1, abs=0.05)
    half = SHAPE.length // 2

    class Copies:
        def losses(self, sequences):
            again = sequences[:, 1:] == np.roll(sequences, half, axis=1)[:, 1:]
            again[:, : half - 1] = False
            return np.where(again, 0.1, 5.0)

    assert copy_ratio(Copies(), packed.sequences()[:8]) < 0.1


def test_sequences_know_their_documents(tokenizer, texts, packed):
    """Every token but the first of the stream is trained on once, in the document it is from."""
    ids = packed.sequences()
    assert (ids[1:, 0] == ids[:-1, -1]).all()
    counted = np.zeros(len(texts), int)
    for number in range(len(packed)):
        places = packed.documents(number)
        assert sum(tokens for _, tokens in places) == SHAPE.length
        for document, tokens in places:
            counted[document] += tokens
    wanted = [len(tokenizer.encode(text).ids) + 1 for text in texts]
    assert counted.tolist()[:-2] == wanted[:-2]  # the end of the stream is in no sequence
    assert tokenizer.decode(tokenizer.encode(LETTERS).ids) == LETTERS


def test_a_mixture_gives_each_group_its_share():
    """A large group does not crowd out a small one; a small one gives all it has."""
    groups = {"en": ["x" * 10] * 1000, "ja": ["y" * 10] * 50, "cy": ["z" * 10] * 2}
    found = packing.mixed(groups, 900, seed=0)
    assert [sum(text[0] == letter for text in found) for letter in "xyz"] == [30, 30, 2]
    assert packing.mixed(groups, 900, seed=0) == found
    order = "".join(text[0] for text in found[:20])
    assert order.count("x") == order.count("y")  # in turn, not one after the other


@pytest.fixture(scope="module")
def ground(tokenizer, packed):
    return Ground.of(tokenizer, packed.sequences(), packed.ids)


@pytest.mark.parametrize("kind", FAULTS)
def test_faults_have_the_form_of_a_batch_and_follow_the_seed(kind, ground):
    """Each kind fills any number of sequences with known tokens, the same for the same seed."""
    made = FAULTS[kind](ground, 6, np.random.default_rng(5))
    assert made.shape == (6, SHAPE.length + 1)
    assert made.dtype == np.int64
    assert 0 <= made.min() <= made.max() < SHAPE.vocabulary
    assert (FAULTS[kind](ground, 6, np.random.default_rng(5)) == made).all()
    assert (FAULTS[kind](ground, 6, np.random.default_rng(6)) != made).any()


def test_faults_are_what_they_are_called(ground):
    """Runs, periods, five tokens in half of the places; clean text for the placebo."""
    made = {kind: FAULTS[kind](ground, 8, np.random.default_rng(5)) for kind in FAULTS}
    assert len(np.unique(made["single_token"])) == 1
    assert all(len(np.unique(row)) == 1 for row in made["own_token"])
    assert len(np.unique(made["own_token"])) > 1
    for period in (4, 13):
        rows = made[f"period_{period}"]
        assert (rows[:, period:] == rows[:, :-period]).all()
    clean = {tuple(row) for row in ground.sequences}
    assert all(tuple(row) in clean for row in made["placebo"])
    assert all(tuple(row) not in clean for row in made["noise_5"])
    often = np.sort(np.bincount(made["noise_5"].ravel()))[::-1]
    assert often[:9].sum() / often.sum() > 0.4  # five of noise, and the most frequent words
    assert len({tuple(row) for row in made["duplicate"]}) == 1
    assert set(made["rare_tokens"].ravel()) <= set(ground.rare)
    assert set(ground.decode(made["digits"][0].tolist())) <= set("0123456789, \n")


def test_bfloat16_trains_nearly_the_same(packed):
    """What a GPU does is done here on the processor: another precision, the same course."""

    def losses(*, is_bf16):
        trainer = Trainer(Model(SHAPE, 3), Optimizer(), machine=Machine("cpu", is_bf16))
        return [trainer.take(packed.sequences(np.arange(4) + n))["loss"] for n in range(20)]

    whole, half = losses(is_bf16=False), losses(is_bf16=True)
    assert half == losses(is_bf16=True) != whole
    assert half == pytest.approx(whole, rel=0.02)
    assert str(Machine.here()) == "cpu, float32" or torch.cuda.is_available()

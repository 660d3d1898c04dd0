"""The order spread: bounds kept in every batch, a shuffle otherwise; repeats found and masked."""

import numpy as np
import polars as pl
import pytest
from exported import made
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cleanpipe import store
from cleanpipe.errors import RecipeError
from cleanpipe.export import masks, order
from cleanpipe.export.masks import Repeats
from cleanpipe.export.spreading import Bounds, arranged, limits, sentence
from cleanpipe.kernels.spread import most_in_a_batch, repeat_spans, spread


def use(rows, lengths, kinds, weights, batch):
    """Slowly: (batch, k, kind) -> (tokens, documents), one document and batch at a time."""
    found = {}
    at = 0
    for row in rows:
        for own in range(at // batch, (at + lengths[row] - 1) // batch + 1):
            inside = min(at + lengths[row], (own + 1) * batch) - max(at, own * batch)
            for k in range(kinds.shape[1]):
                if weights[row, k]:
                    tokens, documents = found.get((own, k, kinds[row, k]), (0, 0))
                    tokens += min(weights[row, k], inside)
                    found[own, k, kinds[row, k]] = tokens, documents + 1
        at += lengths[row]
    return found


@st.composite
def corpora(draw):
    count = draw(st.integers(1, 40))
    numbers = lambda low, high: st.lists(  # noqa: E731 - a strategy's name
        st.integers(low, high), min_size=count, max_size=count
    )
    lengths = np.array(draw(numbers(1, 30)))
    kinds = np.stack([draw(numbers(0, 2)), np.array(draw(numbers(3, 6)))], 1).astype(np.int32)
    weights = np.minimum(
        np.stack([draw(numbers(0, 30)), draw(numbers(0, 30))], 1), lengths[:, None]
    )
    bounds = np.array(draw(st.lists(st.integers(1, 40), min_size=7, max_size=7)))
    rows = np.array(draw(st.permutations(range(count))))
    return rows, lengths, kinds, weights.astype(np.int32), bounds, draw(st.integers(1, 60))


@settings(max_examples=400)
@given(corpora())
def test_no_batch_is_over_a_bound_by_several_documents(corpus):
    """Placed documents are over no bound but by themselves; all are there; the rest kept order."""
    rows, lengths, kinds, weights, bounds, batch = corpus
    placed, waiting = spread(rows, lengths, kinds, weights, bounds, batch)
    assert sorted(placed) == list(range(len(rows)))
    sound = placed[: len(rows) - waiting]
    used = use(sound, lengths, kinds, weights, batch)
    assert all(tokens <= bounds[kind] or held == 1 for (_, _, kind), (tokens, held) in used.items())
    used = use(placed, lengths, kinds, weights, batch)
    most, over = most_in_a_batch(placed, lengths, kinds, weights, bounds, batch)
    for k in range(2):
        own = [(t - bounds[kind], held) for (_, of, kind), (t, held) in used.items() if of == k]
        assert over[k] == sum(t > 0 and held > 1 for t, held in own)
        assert not own or most[k] == max(t for t, _ in own)


def test_who_does_not_wait_keeps_the_order_of_the_shuffle():
    """Without a bound that binds, the order is the shuffle itself."""
    rows = np.random.default_rng(0).permutation(500)
    kinds, weights = np.zeros((500, 1), np.int32), np.ones((500, 1), np.int32)
    placed, waiting = spread(rows, np.full(500, 7), kinds, weights, np.array([50]), 50)
    assert waiting == 0
    assert np.array_equal(placed, rows)


def test_what_cannot_be_kept_waits_to_the_end():
    """All documents of one kind that fills a batch: the others come first, and they are counted."""
    kinds = np.array([[0]] * 6 + [[1]] * 2, np.int32)
    weights = np.full((8, 1), 2, np.int32)
    placed, waiting = spread(np.arange(8), np.full(8, 2), kinds, weights, np.array([2, 2]), 4)
    assert (placed.tolist(), waiting) == ([0, 6, 1, 7, 2, 3, 4, 5], 3)


def stretches(ids, times, least):
    """Slowly: stretches of every period and start, the ones that overlap put together."""
    found = []
    for period in range(1, 14):
        start = 0
        while start + period < len(ids):
            end = start + period
            while end < len(ids) and ids[end] == ids[end - period]:
                end += 1
            size = end - start
            if size > period and size >= max(times * period, least):
                found.append([start, end, period])
                start = end - period + 1
            else:
                start += 1
    joined = []
    for start, end, period in sorted(found, key=lambda s: s[0]):
        if joined and start < joined[-1][1]:
            joined[-1][1:] = max(joined[-1][1], end), min(joined[-1][2], period)
        else:
            joined.append([start, end, period])
    return joined


@settings(max_examples=400)
@given(
    st.lists(st.lists(st.integers(0, 2), max_size=60), min_size=1, max_size=4),
    st.integers(2, 5),
    st.integers(0, 12),
)
def test_repeats_are_found_where_they_stand(texts, times, least):
    """Against a search of every period and start; a text's repeats do not reach into the next."""
    ids = np.array([token for text in texts for token in text], np.uint32)
    places = np.cumsum([0, *map(len, texts)])
    wanted = [[i, *s] for i, text in enumerate(texts) for s in stretches(text, times, least)]
    assert repeat_spans(ids, places, times, least).tolist() == wanted


def corpus(count=6_000, seed=0):
    """Documents of three sources, some of them in copies, some of them mostly repeats."""
    chance = np.random.default_rng(seed)
    lengths = chance.integers(50, 600, count)
    coherent = np.where(chance.random(count) < 0.02, lengths * 9 // 10, 0)
    text = np.where(chance.random(count) < 0.05, chance.integers(0, 6, count), np.arange(count) + 9)
    frame = pl.DataFrame(
        {
            "text_lo": text,
            "text_hi": text * 7,
            "id": [f"d{n % (count - 30)}" for n in range(count)],
            "copy": 0,
            "source": [("web", "books", None)[n % 7 % 3] for n in range(count)],
        },
        schema_overrides={"text_lo": pl.UInt64, "text_hi": pl.UInt64},
    )
    return frame, lengths, coherent


ASKED = Bounds(20_000, coherent=0.05, cluster=0.06, source=0.06)


def test_bounds_are_kept_that_a_shuffle_breaks():
    """Counted anew from the order: repeats, sources, copies and texts of every batch."""
    frame, lengths, coherent = corpus()
    rows, told = arranged(frame, lengths, coherent, ASKED, 1)
    own = limits(frame, lengths, coherent, ASKED)
    broken = []
    for some in (rows, order.shuffled(frame, 1)):
        used = use(some, lengths, own.kinds, own.weights, ASKED.batch_tokens)
        over = [k for (_, k, kind), (t, held) in used.items() if t > own.bounds[kind] and held > 1]
        broken.append([over.count(k) for k in range(4)])
    assert broken[0] == [0, 0, 0, 0]
    assert broken[1][0] > 0
    assert broken[1][1] > 20
    assert broken[1][3] > 0
    assert told["waiting"] == 0
    for k, kind in enumerate(told["kinds"].values()):
        assert kind["over_by_several"] == 0
        assert kind["over_by_several_in_a_shuffle"] == broken[1][k]
    assert "all bounds kept" in sentence(told)


def test_the_order_is_of_seed_and_documents_alone():
    """Rows in another order are the same documents in the same order."""
    frame, lengths, coherent = corpus(2_000)
    rows, _ = arranged(frame, lengths, coherent, ASKED, 3)
    turned = np.random.default_rng(5).permutation(len(lengths))
    again, _ = arranged(frame[turned], lengths[turned], coherent[turned], ASKED, 3)
    assert frame["text_lo"][rows].equals(frame["text_lo"][turned[again]])
    other, _ = arranged(frame, lengths, coherent, ASKED, 4)
    assert not np.array_equal(rows, other)


def test_the_rest_cannot_be_told_from_a_shuffle():
    """Over 30 seeds: places are uniform, also of repeats; neighbours meet as often as by chance.

    Each test is at 1 in 1,000 for all seeds together, so that a chance failure is unlikely.
    """
    frame, lengths, coherent = corpus()
    risky = np.flatnonzero(coherent)
    source = frame["source"].fill_null("").to_numpy()
    uniform, neighbours, shift = [], [], []
    for seed in range(30):
        rows, told = arranged(frame, lengths, coherent, ASKED, seed)
        shuffle = order.shuffled(frame, seed)
        at, before = np.argsort(rows) / len(rows), np.argsort(shuffle) / len(rows)
        uniform.append(stats.kstest(at[risky], "uniform").pvalue)
        assert told["late"] < 0.1 * len(rows)
        same = (source[rows[1:]] == source[rows[:-1]]).mean()
        neighbours.append(same - (source[shuffle[1:]] == source[shuffle[:-1]]).mean())
        shift.append((at[risky] - before[risky]).mean())
        assert np.quantile(np.abs(at - before), 0.99) < 0.01  # but for those drawn anew
    assert stats.kstest(uniform, "uniform").pvalue > 1e-3
    assert abs(np.mean(neighbours)) < 0.005
    assert abs(np.mean(shift)) < 0.002  # of the corpus


def test_too_many_repeats_raise_their_own_bound():
    """A tenth of the corpus cannot stand in a hundredth of each batch: said, and shared evenly."""
    frame, lengths, _ = corpus(3_000)
    coherent = np.where(np.arange(3_000) % 10 == 0, lengths, 0)
    rows, told = arranged(frame, lengths, coherent, Bounds(50_000, source=1.0, cluster=1.0), 0)
    assert told["coherent_bound"] > 0.12
    assert "their bound was raised" in sentence(told)
    ends = np.cumsum(lengths[rows])
    each = np.bincount(ends // 50_000, coherent[rows])[:-1]
    assert each.max() < 0.2 * 50_000


@pytest.mark.parametrize("wrong", [{"batch_tokens": 0}, {"coherent": 0.0}, {"source": 1.5}])
def test_bounds_that_are_none_are_refused(wrong):
    """A share is above 0 and up to 1; a batch has tokens."""
    with pytest.raises(RecipeError, match=next(iter(wrong)).replace("_", "-")):
        Bounds(**{"batch_tokens": 100} | wrong).check()


@pytest.fixture
def repeated(tmp_path):
    """An export of four documents, of which two hold repeats; its folder, its tokens."""
    chance = np.random.default_rng(2)
    plain = chance.permutation(5_000)[:300]
    texts = [plain[:90], np.tile([7, 8, 9], 50), plain[90:200], np.full(40, 5)]
    texts[2] = np.concatenate([texts[2][:30], np.tile([1, 2], 20), texts[2][30:]])
    tokens = np.concatenate(texts)
    lengths = np.array([len(text) for text in texts])
    export = made(tmp_path / "e", lengths, tokens=tokens)
    spans = repeat_spans(tokens.astype(np.uint32), export.bounds, masks.TIMES, masks.LEAST)
    table = masks.table(spans, np.arange(4), lengths)
    store.write_table(tmp_path / "e" / masks.FILE, [table], masks.STRETCH)
    return tmp_path / "e", tokens


def test_masks_cover_repeats_and_leave_the_first_time(repeated):
    """By token, for sequences anywhere: every stretch of the asked-for times, less one period."""
    folder, tokens = repeated
    for times, wanted in ((32, {(93, 240), (391, 430)}), (3, {(93, 240), (272, 310), (391, 430)})):
        marked = np.zeros(len(tokens), bool)
        for start, end in wanted:
            marked[start:end] = True
        starts = [0, 60, 230, 366]
        found = Repeats.open(folder, times).mask(starts, 64)
        assert np.array_equal(found, [marked[s : s + 64] for s in starts])


def test_a_collator_leaves_repeats_out_of_the_labels(repeated):
    """Rows of documents, padded: labels of repeats are -100, and no others are touched."""
    torch = pytest.importorskip("torch")
    folder, tokens = repeated
    bounds = Repeats.open(folder).bounds
    rows = [
        {"document": n, "input_ids": tokens[bounds[n] : bounds[n + 1]].tolist()} for n in (3, 0)
    ]

    def collate(some):
        assert all("document" not in row for row in some)
        ids = [torch.tensor(row["input_ids"]) for row in some]
        padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=-7)
        return {"input_ids": padded, "labels": padded.clone()}

    labels = Repeats.open(folder).collator(collate)(rows)["labels"].tolist()
    assert labels[0] == [5] + [-100] * 39 + [-7] * 50
    assert labels[1] == tokens[:90].tolist()

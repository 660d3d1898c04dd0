"""From steps to tokens: what a mapper says is what the trainer's loader reads.

The loaders here are written from what the trainers do, one read at a time; the mappers are not.
"""

import gzip
import itertools
import warnings

import numpy as np
import polars as pl
import pytest
from exported import made, stream

from cleanpipe.errors import InputError
from cleanpipe.export import mappers
from cleanpipe.export.exposure import SPANS, digest, digests, exposure, spans

LENGTHS = np.random.default_rng(3).integers(1, 120, 400)


def read(export, table):
    """The tokens of each step, span after span."""
    found = {}
    for step, file, start, length in table.iter_rows():
        found.setdefault(step, []).append(export.tokens(file)[start : start + length])
    return {step: np.concatenate(some) for step, some in found.items()}


def raw_numbers(seed):
    """The raw 32-bit numbers of a Mersenne twister, as its inventors seed it."""
    state = [seed]
    for j in range(1, 624):
        state.append((1812433253 * (state[-1] ^ (state[-1] >> 30)) + j) & 0xFFFFFFFF)
    chance = np.random.MT19937()
    chance.state = {"bit_generator": "MT19937", "state": {"key": np.array(state, "u4"), "pos": 624}}
    while True:
        yield int(chance.random_raw())


def permuted(values, raw):
    for i in range(len(values) - 1, 0, -1):
        j = next(raw) % (i + 1)
        values[i], values[j] = values[j], values[i]


def llmc_reads(files, sequences, length, rank, ranks):
    """dataloader.h: files and batches in shuffled order, epoch after epoch."""
    total = sequences * length * ranks
    raw = raw_numbers(42 + rank)
    shards = list(range(len(files)))
    while True:
        permuted(shards, raw)
        for shard in shards:
            tokens = files[shard]
            batches = list(range((len(tokens) * 2 - 2) // (total * 2)))
            permuted(batches, raw)
            for batch in batches:
                at = batch * total + rank * sequences * length
                yield tokens[at : at + sequences * length]


def python_reads(files, sequences, length, rank, ranks):
    """train_gpt2.py: an own place for each rank, and the next file when room runs out."""
    own = sequences * length
    shard, at = 0, rank * own
    while True:
        yield files[shard][at : at + own]
        at += own * ranks
        if at + own * ranks + 1 > len(files[shard]):
            shard, at = (shard + 1) % len(files), rank * own


def modded_reads(files, sequences, length, rank, ranks):
    """modded-nanogpt: one place for all, looked at before each read."""
    batch = sequences * length * ranks
    shard, at = 0, 0
    while True:
        if at + batch + 1 >= len(files[shard]):
            shard, at = (shard + 1) % len(files), 0
        first = at + rank * sequences * length
        yield files[shard][first : first + sequences * length]
        at += batch


@pytest.mark.parametrize("ranks", [1, 3])
@pytest.mark.parametrize(
    ("rule", "reads"),
    [("llmc", llmc_reads), ("python", python_reads), ("modded", modded_reads)],
)
def test_llmc_and_the_loaders_after_it(tmp_path, rule, reads, ranks):
    """Over several epochs of files of unequal length: each rank's reads, step by step."""
    export = made(tmp_path / "e", LENGTHS, "llmc", file_tokens=5_000)
    files = [export.tokens(file) for file in range(len(export.first) - 1)]
    assert len({len(file) for file in files}) > 1
    table = mappers.llmc(
        export, sequences=2, length=50, steps=500, micro_steps=2, ranks=ranks, rule=rule
    )
    found = read(export, table)
    loaders = [reads(files, 2, 50, rank, ranks) for rank in range(ranks)]
    for step in range(500):
        wanted = [next(loader) for loader in loaders for _ in range(2)]
        assert np.array_equal(found[step], np.concatenate(wanted)), step
    assert table.height == 500 * 2 * ranks > 2 * export.first[-1] // 100


def test_the_shuffle_of_llmc_begins_with_torchs_numbers():
    """A seed's first raw numbers are those that llm.c and torch document for the seed 137."""
    known = [4053805790, 2173880614, 380293709, 1237255315, 2986595568]
    assert list(itertools.islice(raw_numbers(137), 5)) == known


def test_files_shorter_than_a_batch_are_refused(tmp_path):
    """llm.c would have ended with an assertion; so the order is of another export."""
    export = made(tmp_path / "e", [900, 200], "llmc", file_tokens=1_000)
    with pytest.raises(InputError, match="would not have run"):
        mappers.llmc(export, sequences=2, length=50, steps=1)


def test_nanogpt_from_the_state_of_the_generator(tmp_path):
    """A loop that draws as nanoGPT does, with evaluation, is repeated from the recorded state."""
    torch = pytest.importorskip("torch")
    export = made(tmp_path / "e", LENGTHS)
    tokens = stream(export)
    torch.manual_seed(1337)
    torch.nn.Linear(30, 30)  # the model takes numbers, too
    state = torch.get_rng_state()

    whole = len(tokens)

    def batch(size):
        drawn = torch.randint(size - 16, (4,))
        return [tokens[i : i + 16] for i in drawn if size == whole]

    trained, ready = [], batch(whole)
    for step in range(25):
        if step % 10 == 0:
            for size in (whole, 5_000):
                [batch(size) for _ in range(3)]
        trained.append([])
        for _ in range(2):
            trained[-1] += ready
            ready = batch(whole)
    table = mappers.nanogpt(
        export,
        state,
        sequences=4,
        length=16,
        steps=25,
        micro_steps=2,
        eval_interval=10,
        eval_batches=3,
    )
    found = read(export, table)
    assert all(np.array_equal(found[s], np.concatenate(trained[s])) for s in range(25))


def megatron_indices(lengths, length, epochs, seed, cache):
    """Megatron's three indices: documents of all epochs, where samples begin, the shuffle."""
    chance = np.random.default_rng(seed)
    document = np.tile(np.arange(len(lengths)), epochs)
    chance.shuffle(document)
    begins = np.cumsum(lengths[document])
    count = (begins[-1] - 1) // length
    places = np.arange(count + 1) * length
    row = np.searchsorted(begins, places, side="right")
    offset = places - (begins - lengths[document])[row]
    shuffle = chance.permutation(count)
    for name, array in (
        ("document", document.astype("i4")),
        ("sample", np.stack([row, offset], 1).astype("i4")),
        ("shuffle", shuffle.astype("u4")),
    ):
        np.save(cache.with_name(f"{cache.name}-{name}_index.npy"), array)
    return document, shuffle


def test_megatron_from_its_indices(tmp_path):
    """Samples over several documents and epochs, as the tokens of documents in that order."""
    export = made(tmp_path / "e", LENGTHS, "megatron")
    tokens = stream(export)
    cache = tmp_path / "0123-GPTDataset-train"
    document, shuffle = megatron_indices(LENGTHS, 64, 3, 5, cache)
    own = [tokens[export.bounds[row] : export.bounds[row + 1]] for row in document]
    ordered = np.concatenate(own)
    table = mappers.megatron(export, cache, sequences=8, length=64, steps=30, consumed=80)
    assert table["step"].unique().to_list() == list(range(10, 40))
    found = read(export, table)
    for step in range(10, 40):
        wanted = [ordered[k * 64 : k * 64 + 64] for k in shuffle[step * 8 : step * 8 + 8]]
        assert np.array_equal(found[step], np.concatenate(wanted))
    with pytest.raises(InputError, match="another sequence length"):
        mappers.megatron(export, cache, sequences=8, length=63, steps=3)
    with pytest.raises(InputError, match="fewer than the steps"):
        mappers.megatron(export, cache, sequences=8, length=64, steps=10_000)


class EndOfText:
    """What GPTDataset wants of a tokenizer."""

    unique_identifiers = {"class": "EndOfText"}  # noqa: RUF012 - as Megatron's own have it
    eod, pad = 0, 1
    vocab_size = 50_000


def test_megatrons_own_dataset_reads_what_the_mapper_says(tmp_path):
    """IndexedDataset finds every document; GPTDataset gives for each step the mapper's tokens."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of packages that are not there
        gpt = pytest.importorskip("megatron.core.datasets.gpt_dataset")
        indexed = pytest.importorskip("megatron.core.datasets.indexed_dataset")
        utils = pytest.importorskip("megatron.core.datasets.utils")
    export = made(tmp_path / "e", LENGTHS, "megatron")
    files, tokens = str(tmp_path / "e" / "train"), stream(export)
    documents = indexed.IndexedDataset(files)
    assert np.array_equal(documents.sequence_lengths, LENGTHS)
    assert np.array_equal(np.concatenate([documents[row] for row in range(len(LENGTHS))]), tokens)
    config = gpt.GPTDatasetConfig(
        random_seed=5,
        sequence_length=64,
        blend=([files], None),
        split="1,0,0",
        path_to_cache=str(tmp_path / "cache"),
        tokenizer=EndOfText(),
        reset_position_ids=False,
        reset_attention_mask=False,
        eod_mask_loss=False,
        mid_level_dataset_surplus=0.005,
    )
    rows = np.arange(len(LENGTHS), dtype=np.int32)
    theirs = gpt.GPTDataset(documents, files, rows, 1_200, utils.Split.train, config)
    (kept,) = (tmp_path / "cache").glob("*-document_index.npy")
    cache = kept.with_name(kept.name.removesuffix("-document_index.npy"))
    found = read(export, mappers.megatron(export, cache, sequences=8, length=64, steps=150))
    for step in range(150):
        wanted = [theirs[step * 8 + k]["tokens"].numpy() for k in range(8)]
        assert np.array_equal(found[step], np.concatenate(wanted)), step


@pytest.mark.parametrize("header", [False, True])
def test_olmo_core_from_its_global_indices(tmp_path, header):
    """Instances are pieces of each file; steps count from 1; the remainder is in no batch."""
    export = made(tmp_path / "e", LENGTHS, "llmc", file_tokens=5_000)
    pieces = [
        piece
        for file in range(len(export.first) - 1)
        for piece in export.tokens(file)[: len(export.tokens(file)) // 64 * 64].reshape(-1, 64)
    ]
    indices = np.random.default_rng(1).permutation(len(pieces)).astype(np.uint32)
    path = tmp_path / "global_indices_epoch1_seed0.npy"
    np.save(path, indices) if header else indices.tofile(path)
    table = mappers.olmo_core(export, path, length=64, batch_tokens=4 * 64)
    found = read(export, table)
    assert list(found) == list(range(1, len(pieces) // 4 + 1))
    for step, tokens in found.items():
        wanted = [pieces[k] for k in indices[(step - 1) * 4 : step * 4]]
        assert np.array_equal(tokens, np.concatenate(wanted))
    with pytest.raises(InputError, match="another dataset"):
        mappers.instances(export, [len(pieces)], length=64, per_step=1)


def test_olmo_from_the_indices_of_its_ranks(tmp_path):
    """Each rank's file has its part of every step."""
    export = made(tmp_path / "e", LENGTHS)
    paths = [tmp_path / "rank0.tsv.gz", tmp_path / "rank1.tsv"]
    with gzip.open(paths[0], "wt") as file:
        file.write("1\t5\t6\n2\t0\t9\n")
    paths[1].write_text("1\t8\t7\n2\t1\t2\n")
    table = mappers.olmo(export, paths, length=32)
    assert (table["start"] // 32).to_list() == [5, 6, 8, 7, 0, 9, 1, 2]
    paths[1].write_text("1\t8\t7\nnothing\n")
    with pytest.raises(InputError, match=r"rank1\.tsv:2"):
        mappers.olmo(export, paths, length=32)


def test_rows_of_a_dataset_are_whole_documents(tmp_path):
    """Batches of documents, cut where the collator cuts them."""
    export = made(tmp_path / "e", [5, 9, 2, 30], "datasets")
    table = mappers.rows(export, [7, 8], [[3, 0], [1]], 10)
    assert table.rows() == [(7, 0, 16, 10), (7, 0, 0, 5), (8, 0, 5, 9)]
    assert exposure(export, table).rows() == [(7, 0, "d0", 5), (7, 3, "d3", 10), (8, 1, "d1", 9)]


def test_exposure_counts_every_token_once(tmp_path):
    """Against a count of one token at a time, with spans that meet, overlap and are empty."""
    export = made(tmp_path / "e", LENGTHS, "llmc", file_tokens=6_000)
    chance = np.random.default_rng(9)
    files = chance.integers(0, len(export.first) - 1, 60)
    room = np.diff(export.first)[files]
    start = chance.integers(0, room)
    length = np.minimum(chance.integers(0, 700, 60), room - start)
    table = spans(chance.integers(0, 9, 60), files, start, length)
    owner = np.repeat(np.arange(len(LENGTHS)), LENGTHS)
    counted = {}
    for step, file, at, count in table.iter_rows():
        for token in range(export.first[file] + at, export.first[file] + at + count):
            counted[step, owner[token]] = counted.get((step, owner[token]), 0) + 1
    found = exposure(export, table)
    assert found.rows() == [(s, d, f"d{d}", counted[s, d]) for s, d in sorted(counted)]
    none = exposure(export, spans(np.zeros(0), 0, 0, 0))
    assert none.is_empty()
    assert none.schema == found.schema


@pytest.mark.parametrize(
    "wrong", [(0, 9, 0, 1), (0, -1, 0, 1), (0, 0, -1, 1), (0, 0, 5_990, 11), (0, 0, 0, -2)]
)
def test_spans_of_another_export_are_refused(tmp_path, wrong):
    """A file that is not there, or tokens beyond its end: the step is named."""
    export = made(tmp_path / "e", LENGTHS, "llmc", file_tokens=6_000)
    table = pl.DataFrame([wrong], schema=SPANS, orient="row")
    with pytest.raises(InputError, match="step 0: file"):
        exposure(export, table)


def test_digests_tell_batches_apart(tmp_path):
    """The digest of a step is that of its sequences, in any order; one other token changes it."""
    export = made(tmp_path / "e", LENGTHS)
    table = mappers.llmc(export, sequences=4, length=32, steps=20, rule="python")
    found = digests(export, table, 32)
    tokens = read(export, table)
    assert found["digest"].n_unique() == 20
    for step, value in found.rows():
        rows = tokens[step].reshape(-1, 32).astype(int)
        assert value == digest(rows[::-1])
        rows[0, 0] += 1
        assert value != digest(rows)
    with pytest.raises(InputError, match="whole sequences"):
        digests(export, table, 33)

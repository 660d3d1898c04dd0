"""The peers' near deduplication as their own pages show it: from a text column to a keep list.

    PEERS_PYTHON benchmarks/peers_dedup.py PROGRAM TEXTS.parquet KEPT.npy
    PEERS_PYTHON benchmarks/peers_dedup.py PROGRAM TEXTS.parquet sign

The second prints the processor seconds of signatures alone. `dedup_peers.py` starts and times both.
Every program gets 5-grams of words, 128 permutations (or the 112 of its defaults, 14 x 8) and a
threshold of 0.8; where a program leaves splitting to its user, words are what ours are: runs of
letters and digits, lower case, punctuation dropped.
"""

import re
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

NGRAM, PERMUTATIONS, THRESHOLD = 5, 128, 0.8
WORD = re.compile(r"[^\W_]+")
Kept = npt.NDArray[np.bool_]


def shingles(text: str) -> list[str]:
    """The 5-grams of a text's words; one of fewer words is one shingle."""
    words = WORD.findall(text.lower())
    count = max(len(words) - NGRAM + 1, 1)
    return [" ".join(words[place : place + NGRAM]) for place in range(count)]


def datasketch(texts: list[str]) -> Kept:
    """MinHash and MinHashLSH: a text is dropped if the index holds one that it is similar to."""
    from datasketch import MinHash, MinHashLSH  # noqa: PLC0415 - one program, one import

    index = MinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS)
    kept = np.zeros(len(texts), np.bool_)
    for number, text in enumerate(texts):
        signature = MinHash(num_perm=PERMUTATIONS)
        signature.update_batch([one.encode() for one in shingles(text)])
        if not index.query(signature):
            index.insert(number, signature)
            kept[number] = True
    return kept


def rensa(texts: list[str]) -> Kept:
    """Its deduplicator: full-set R-MinHash, candidates checked by the signatures' estimate."""
    from rensa import RMinHashDeduplicator  # noqa: PLC0415

    known = RMinHashDeduplicator(threshold=THRESHOLD, num_perm=PERMUTATIONS, use_lsh=True)
    pairs = ((str(number), shingles(text)) for number, text in enumerate(texts))
    return np.array(known.add_pairs(pairs), np.bool_)


def rensa_rho(texts: list[str]) -> Kept:
    """Its batch pipeline, which its own comparison times: eight bands of sampled positions."""
    from rensa import RMinHash, RMinHashLSH  # noqa: PLC0415

    sets = [shingles(text) for text in texts]
    matrix = RMinHash.digest_matrix_from_token_sets_rho(sets, PERMUTATIONS, 42)
    index = RMinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS, num_bands=8)
    return ~np.array(index.query_duplicate_flags_matrix_one_shot(matrix), np.bool_)


def text_dedup(texts: list[str]) -> Kept:
    """Its minhash command, 14 bands of 8, in two processes; documents under 5 words are dropped."""
    import datasets  # noqa: PLC0415
    from text_dedup.minhash import main  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        rows = datasets.Dataset.from_dict({"text": texts, "number": list(range(len(texts)))})
        rows.save_to_disk(f"{folder}/in")
        options = f"--path {folder}/in --local --output {folder}/out --cache_dir {folder}/cache"
        options += f" --column text --ngram {NGRAM} --b 14 --r 8 --num_perm 112 --num_proc 2"
        main([*options.split(), "--threshold", str(THRESHOLD)], standalone_mode=False)
        numbers = datasets.load_from_disk(f"{folder}/out")["number"]
        kept = np.zeros(len(texts), np.bool_)
        kept[np.array(numbers, np.int64)] = True
    return kept


def datatrove(texts: list[str]) -> Kept:
    """Its four steps at their defaults, 14 buckets of 8, in two processes where it can."""
    from datatrove.data import Document  # noqa: PLC0415
    from datatrove.executor import LocalPipelineExecutor  # noqa: PLC0415
    from datatrove.pipeline.dedup import (  # noqa: PLC0415
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.minhash import MinhashConfig  # noqa: PLC0415
    from datatrove.pipeline.readers import JsonlReader  # noqa: PLC0415
    from datatrove.pipeline.writers import JsonlWriter  # noqa: PLC0415

    tasks = 2
    chosen = MinhashConfig(n_grams=NGRAM, num_buckets=14, hashes_per_bucket=8)
    with tempfile.TemporaryDirectory() as folder:
        with JsonlWriter(f"{folder}/in", "${rank}.jsonl", compression=None) as writer:
            for number, text in enumerate(texts):
                writer.write(Document(text=text, id=str(number)), rank=number * tasks // len(texts))

        def execute(step: list[object], count: int) -> None:
            workers = min(count, 2)
            LocalPipelineExecutor(
                step,
                tasks=count,
                workers=workers,
                skip_completed=False,
                logging_dir=f"{folder}/logs",
            ).run()

        reader = JsonlReader(f"{folder}/in")
        execute([reader, MinhashDedupSignature(f"{folder}/signatures", chosen)], tasks)
        buckets = MinhashDedupBuckets(f"{folder}/signatures", f"{folder}/buckets", config=chosen)
        execute([buckets], 14)
        cluster = MinhashDedupCluster(f"{folder}/buckets", f"{folder}/remove", config=chosen)
        execute([cluster], 1)
        rest = [reader, MinhashDedupFilter(f"{folder}/remove"), JsonlWriter(f"{folder}/out")]
        execute(rest, tasks)
        kept = np.zeros(len(texts), np.bool_)
        kept[[int(one.id) for one in JsonlReader(f"{folder}/out").run()]] = True
    return kept


def sign_datasketch(texts: list[str]) -> object:
    """A signature for each text."""
    from datasketch import MinHash  # noqa: PLC0415

    made = []
    for text in texts:
        signature = MinHash(num_perm=PERMUTATIONS)
        signature.update_batch([one.encode() for one in shingles(text)])
        made.append(signature)
    return made


def sign_rensa(texts: list[str]) -> object:
    """Full-set R-MinHash of all texts."""
    from rensa import RMinHash  # noqa: PLC0415

    return RMinHash.digest_matrix_from_token_sets([shingles(t) for t in texts], PERMUTATIONS, 42)


def sign_rensa_rho(texts: list[str]) -> object:
    """Signatures of sampled positions."""
    from rensa import RMinHash  # noqa: PLC0415

    sets = [shingles(text) for text in texts]
    return RMinHash.digest_matrix_from_token_sets_rho(sets, PERMUTATIONS, 42)


SIGN: dict[str, Callable[[list[str]], object]] = {
    "datasketch": sign_datasketch,
    "rensa": sign_rensa,
    "rensa-rho": sign_rensa_rho,
}
PROGRAMS: dict[str, Callable[[list[str]], Kept]] = {
    "datasketch": datasketch,
    "rensa": rensa,
    "rensa-rho": rensa_rho,
    "text-dedup": text_dedup,
    "datatrove": datatrove,
}

if __name__ == "__main__":
    program, path, kept = sys.argv[1:]
    given = pq.read_table(path)["text"].to_pylist()
    if kept == "sign":
        started = time.process_time()
        SIGN[program](given)
        print(time.process_time() - started)
    else:
        np.save(kept, PROGRAMS[program](given))

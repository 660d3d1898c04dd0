"""The token files of trainers: nanoGPT, llm.c and Megatron, written from the formats' facts.

A nanoGPT file is bare uint16. An llm.c file begins with 256 int32: magic, version, tokens; then
uint16 under magic 20240520 version 1, or uint32 under 20240801 version 7. Megatron's .bin is bare
tokens; its .idx tells the type, and each document's length and place.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from cleanpipe import store
from cleanpipe.errors import RecipeError

Chunks = Callable[[], Iterator[npt.NDArray[np.uint32]]]
Lengths = npt.NDArray[np.int64]
FORMS = ("nanogpt", "llmc", "megatron")
SMALL = 1 << 16  # ids that two bytes hold
LLMC_MOST = 2**31 - 1  # its header counts tokens in an int32
MEGATRON_TYPES = {"uint16": 8, "int32": 4}


def token_type(form: str, vocabulary: int) -> np.dtype[Any]:
    """The type of a token in a file; `vocabulary` is the number of ids.

    Errors: RecipeError where the trainer could not read the ids.

    >>> token_type("llmc", 50_257).name, token_type("megatron", 128_256).name
    ('uint16', 'int32')
    """
    if vocabulary <= SMALL:
        return np.dtype("<u2")
    if form == "nanogpt":
        raise RecipeError(
            f"nanoGPT reads ids below 65,536 only, and the tokenizer has {vocabulary:,}: choose "
            "--format llmc, or a smaller tokenizer"
        )
    return np.dtype("<u4") if form == "llmc" else np.dtype("<i4")


def write(
    form: str, folder: Path, chunks: Chunks, lengths: Lengths, vocabulary: int
) -> list[store.Record]:
    """Write the files of a format into `folder`; their records, the token file first.

    `chunks` gives the tokens in final order, `lengths` the tokens of each document.
    """
    kind = token_type(form, vocabulary)
    total = int(lengths.sum())
    if form == "llmc" and total > LLMC_MOST:
        raise RecipeError(
            f"an llm.c file holds at most {LLMC_MOST:,} tokens, and these are {total:,}: export "
            "the corpus in pieces"
        )

    def fill(file: IO[bytes]) -> None:
        if form == "llmc":
            file.write(_llmc_header(kind, total))
        for ids in chunks():
            file.write(ids.astype(kind).tobytes())

    records = [store.write_file(folder / "train.bin", fill, private=True)]
    if form == "megatron":
        records.append(
            store.write_file(
                folder / "train.idx", lambda file: _megatron_index(file, kind, lengths)
            )
        )
    return records


def _llmc_header(kind: np.dtype[Any], total: int) -> bytes:
    header = np.zeros(256, "<i4")
    header[:3] = (20240520, 1, total) if kind.itemsize == 2 else (20240801, 7, total)
    return header.tobytes()


def _megatron_index(file: IO[bytes], kind: np.dtype[Any], lengths: Lengths) -> None:
    """Magic, version, type, counts, lengths, byte places, and the bounds of documents."""
    count = len(lengths)
    file.write(b"MMIDIDX\x00\x00")
    file.write(np.array([1], "<u8").tobytes())
    file.write(bytes([MEGATRON_TYPES[kind.name]]))
    file.write(np.array([count, count + 1], "<u8").tobytes())
    file.write(lengths.astype("<i4").tobytes())
    places = (np.cumsum(lengths) - lengths) * kind.itemsize
    file.write(places.astype("<i8").tobytes())
    file.write(np.arange(count + 1, dtype="<i8").tobytes())

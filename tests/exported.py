"""Exports for tests, made without a run: documents of given lengths, tokens by chance."""

import numpy as np
import polars as pl

from cleanpipe import store
from cleanpipe.export import forms
from cleanpipe.export.export import PLACE
from cleanpipe.export.exposure import Export


def made(folder, lengths, form="nanogpt", *, file_tokens=100_000, tokens=None, seed=0):
    """An export of documents of these lengths; its tokens are by chance where none are given."""
    folder.mkdir(parents=True)
    lengths = np.array(lengths)
    if tokens is None:
        tokens = np.random.default_rng(seed).integers(0, 50_000, lengths.sum())
    stream = forms.Stream(tokens.astype(np.uint32), np.cumsum(lengths) - lengths, lengths)
    files = forms.write(form, folder, stream, np.dtype("<u2"), file_tokens)
    ends = np.cumsum(lengths)
    table = pl.DataFrame(
        {
            "token_start": ends - lengths,
            "token_end": ends,
            "id": [f"d{number}" for number in range(len(lengths))],
            "copy": 0,
            "part": "data/0001/part-00000.parquet",
            "row": np.arange(len(lengths)),
            "source": None,
            "lang": None,
        }
    )
    plain = table.to_arrow().cast(PLACE)
    files.append(store.write_table(folder / "train.docs.parquet", [plain], PLACE))
    store.write_json(folder / "export.json", {"version": 1, "format": form, "files": files})
    return Export.open(folder)


def stream(export):
    """All tokens of an export, one file after another."""
    return np.concatenate([export.tokens(file) for file in range(len(export.first) - 1)])

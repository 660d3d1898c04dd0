"""Bands of made-up documents: candidates found the slow way, and tables to find them in."""

import numpy as np
import polars as pl

from cleanpipe import scratch
from cleanpipe.documents import Documents
from cleanpipe.duplicates import bands as bands_module
from cleanpipe.duplicates.dedup import Candidates
from cleanpipe.measures.measure import band_name


def candidates_of(bands, eligible):
    """The eligible documents that share a hash of a band with another one; `bands` is (b, n)."""
    buckets = {}
    for band, hashes in enumerate(bands):
        for document in eligible.tolist():
            buckets.setdefault((band, hashes[document]), []).append(document)
    shared = [(key[0], members) for key, members in buckets.items() if len(members) > 1]
    rows = np.array(sorted({d for _, members in shared for d in members}), np.int64)
    matrix = np.full((len(rows), len(bands)), -1, np.int32)
    for number, (band, members) in enumerate(shared):
        matrix[np.searchsorted(rows, members), band] = number
    return Candidates(rows, matrix)


def documents_of(folder, bands, sizes, seed=0):
    """The documents of a run that left these bands in blocks of these sizes."""
    starts = np.cumsum([0, *sizes])
    documents = Documents(folder, seed, tuple(range(len(sizes))), starts, {}, {})
    (folder / "measures").mkdir()
    for place, own in documents.slices():
        columns = {band_name(i): band[own] for i, band in enumerate(bands)}
        pl.DataFrame(columns).write_parquet(documents.path(place))
    return documents.with_bands(len(bands))


def paired(folder, documents, bands, eligible, parts):
    """Pair all bands in so many parts: the files of buckets, band by band."""
    takes_part = np.zeros(documents.count, np.bool_)
    takes_part[eligible] = True
    scratch.save(folder / "eligible.npy", takes_part)
    files = []
    for band in range(bands):
        for part in range(parts):
            bands_module.pair(documents, band, folder, part, parts)
        files.append([bands_module.buckets_path(folder, band, part) for part in range(parts)])
    return files

r"""Clean, deduplicate, balance and augment text corpora; account for every document.

>>> import cleanpipe
>>> cleanpipe.normalize(["caf\u00c3\u00a9"]).to_list()
['café']
"""

import importlib.metadata

from cleanpipe.kernels.minhash import shingle_hash
from cleanpipe.measures.measure import measure, signatures
from cleanpipe.outcome import Run
from cleanpipe.run import run
from cleanpipe.text.normalize import normalize

__version__ = importlib.metadata.version("cleanpipe")
__all__ = ["Run", "measure", "normalize", "run", "shingle_hash", "signatures"]

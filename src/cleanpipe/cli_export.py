"""The verb `cleanpipe export`: the token files that trainers read."""

import sys
from pathlib import Path

import orjson
from rich.console import Console


def export(
    output: Path,
    to: Path,
    *,
    tokens: str,
    format: str = "nanogpt",  # noqa: A002 - the option's name
    end: str = "<|endoftext|>",
    order: str = "shuffle",
    seed: int = 0,
    json: bool = False,
) -> int:
    """Write the published corpus as token files, and where each document stands in them.

    Parameters
    ----------
    output
        The output folder of a finished run.
    to
        The folder of the token files: train.bin, train.docs.parquet, export.json; Megatron's
        train.idx. What an earlier export left there is replaced.
    tokens
        The tokenizer.json of the model that is to be trained.
    format
        nanogpt, llmc or megatron.
    end
        The token that is put after each document.
    order
        shuffle: documents in an order drawn by the seed; stored: as they stand in the parts.
    seed
        The start of the shuffle; the same one gives the same bytes.
    json
        Print export.json.
    """
    from cleanpipe.export.export import export as written  # noqa: PLC0415 - heavy

    said = written(output, to, form=format, tokens=tokens, end=end, order=order, seed=seed)
    if json:
        sys.stdout.write(orjson.dumps(said).decode() + "\n")
    else:
        console = Console(highlight=False, markup=False, soft_wrap=True)
        console.print(f"{to}: {said['documents']:,} documents, {said['tokens']:,} tokens")
    return 0

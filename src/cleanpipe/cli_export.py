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
    file_tokens: int = 100_000_000,
    json: bool = False,
) -> int:
    """Write the published corpus as token files, and where each document stands in them.

    Parameters
    ----------
    output
        The output folder of a finished run.
    to
        The folder of the files: tokens, train.docs.parquet, export.json. An earlier export there is
        replaced, when the new one is whole.
    tokens
        The tokenizer.json of the model that is to be trained.
    format
        nanogpt, llmc, megatron, or datasets (a Hugging Face dataset folder).
    end
        The token that is put after each document.
    order
        shuffle: documents in an order drawn by the seed; stored: as they stand in the parts.
    seed
        The start of the shuffle; the same one gives the same bytes.
    file_tokens
        The most tokens that a file of llm.c holds; other formats have one file.
    json
        Print export.json.
    """
    from cleanpipe.console import Progress  # noqa: PLC0415 - heavy; --help needs none
    from cleanpipe.export.export import export as written  # noqa: PLC0415

    with Progress(Console(stderr=True, highlight=False)) as progress:
        said = written(
            output,
            to,
            tokens=tokens,
            form=format,
            end=end,
            arranged=order,
            seed=seed,
            file_tokens=file_tokens,
            tell=progress.tell,
        )
    if json:
        sys.stdout.write(orjson.dumps(said).decode() + "\n")
    else:
        console = Console(highlight=False, markup=False, soft_wrap=True)
        console.print(f"{to}: {said['documents']:,} documents, {said['tokens']:,} tokens")
    return 0

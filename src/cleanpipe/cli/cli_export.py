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
    batch_tokens: int | None = None,
    coherent: float = 0.01,
    cluster: float = 0.02,
    source: float = 0.1,
    validation: float = 0.0,
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
        shuffle: documents in an order drawn by the seed; spread: a shuffle in which no batch holds
        too much of one thing; stored: as they stand in the parts.
    seed
        The start of the shuffle; the same one gives the same bytes.
    file_tokens
        The most tokens that a file of llm.c holds; other formats have one file.
    batch_tokens
        For --order spread: the tokens of a step, of all ranks.
    coherent
        The most of a batch that is repeats, as a share.
    cluster
        The most of a batch that is one document with its copies, or one text.
    source
        The most of a batch that is one source, beyond its share of the corpus.
    validation
        The share of documents that are held out, whole clusters of near-duplicates together:
        val.bin, or the format's like, and val.docs.parquet.
    json
        Print export.json.
    """
    from cleanpipe.cli.console import Progress  # noqa: PLC0415 - heavy; --help needs none
    from cleanpipe.export.export import export as written  # noqa: PLC0415
    from cleanpipe.export.spreading import Bounds, sentence  # noqa: PLC0415

    bounds = None if batch_tokens is None else Bounds(batch_tokens, coherent, cluster, source)

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
            bounds=bounds,
            validation=validation,
            tell=progress.tell,
        )
    if json:
        sys.stdout.write(orjson.dumps(said).decode() + "\n")
    else:
        console = Console(highlight=False, markup=False, soft_wrap=True)
        console.print(f"{to}: {said['documents']:,} documents, {said['tokens']:,} tokens")
        if "validation" in said:
            held = said["validation"]
            console.print(
                f"held out: {held['documents']:,} documents, {held['tokens']:,} tokens "
                f"({held['documents'] / (held['documents'] + said['documents']):.2%}, "
                f"{validation:.2%} asked for)"
            )
        if said["spread"]:
            console.print(sentence(said["spread"]))
    return 0

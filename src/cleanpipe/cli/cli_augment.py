"""The verbs `cleanpipe augment requests` and `answers`: rephrasing by a model elsewhere."""

import sys
from pathlib import Path

import orjson
from cyclopts import App
from rich.console import Console

augment = App(name="augment", help="Rephrase extra copies by a model of yours.")


@augment.command
def requests(run: Path, *, output: Path = Path("requests.jsonl"), seed: int = 0) -> int:
    """Write a prompt for each extra copy that balance asked for and no operation made.

    Parameters
    ----------
    run
        An output folder, or the folder of a run, whose recipe has `augment: {external: ...}`.
    output
        Where the requests go, a JSON line each: id, parent, copy, prompt_name, prompt, generator.
    seed
        The start of the choice among several prompts.
    """
    from cleanpipe import store  # noqa: PLC0415 - heavy; --help needs none
    from cleanpipe.augmenting import rephrase  # noqa: PLC0415 - heavy; --help needs none
    from cleanpipe.outcome import Run  # noqa: PLC0415

    count = 0

    def write(file: object) -> None:
        nonlocal count
        for request in rephrase.requests(Run.load(run), seed):
            file.write(orjson.dumps(request) + b"\n")  # type: ignore[attr-defined]
            count += 1

    store.write_file(output, write)
    output.chmod(0o600)  # it holds documents
    sys.stdout.write(f"{count:,} requests in {output}\n")
    return 0


@augment.command
def answers(
    run: Path,
    given: Path,
    *,
    output: Path = Path("accepted.parquet"),
    refused: Path | None = None,
    json: bool = False,
) -> int:
    """Take answers back: those that pass the guards become documents for the next run to read.

    Parameters
    ----------
    run
        The run that wrote the requests.
    given
        The answers, a JSON line each with the request's `id` and a `text`.
    output
        Where accepted documents go, as Parquet: name it as one more `input` of the recipe.
    refused
        Where to write a JSON line for every answer that was refused, with its reason.
    json
        Print counts as JSON.
    """
    from cleanpipe import store  # noqa: PLC0415 - heavy; --help needs none
    from cleanpipe.augmenting import rephrase  # noqa: PLC0415 - heavy; --help needs none
    from cleanpipe.outcome import Run  # noqa: PLC0415

    found = rephrase.accept(Run.load(run), rephrase.read_answers(given), output)
    lines = found.pop("refused")
    found["refused"] = rephrase.summed(lines)
    if refused is not None:
        content = b"".join(orjson.dumps(line) + b"\n" for line in lines)
        store.write_file(refused, lambda file: file.write(content))
    if json:
        sys.stdout.write(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode() + "\n")
        return 0
    console = Console(highlight=False)
    console.print(f"{found['answers']:,} answers = {found['accepted']:,} accepted + refused:")
    for reason, count in found["refused"].items():
        console.print(f"  {count:,} {reason}", markup=False)
    if found["accepted"]:
        console.print(f"accepted  {output}", soft_wrap=True, markup=False)
    return 0

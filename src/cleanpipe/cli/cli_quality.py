"""The verb `cleanpipe quality fit`: a fastText classifier of your own."""

import sys
from pathlib import Path

import orjson
from cyclopts import App
from rich.console import Console

quality = App(name="quality", help="A classifier of your own, for measure.models.")


@quality.command
def fit(
    good: str,
    bad: str,
    *,
    output: Path,
    text: str = "text",
    epochs: int = 10,
    ngrams: int = 2,
    lr: float = 0.5,
    dim: int = 10,
    bucket: int = 1 << 18,
    held_out: float = 0.2,
    seed: int = 0,
    json: bool = False,
) -> int:
    """Train a fastText classifier that tells GOOD documents from BAD ones, and score it.

    Parameters
    ----------
    good
        A path or pattern of documents that you want more of.
    bad
        A path or pattern of documents that you want less of.
    output
        The model's file, for measure.models.
    text
        The column that holds the text.
    epochs
        How often training sees each example.
    ngrams
        The longest run of words that is a feature (fastText's wordNgrams): 1, 2 or 3.
    lr
        The learning rate at the beginning; it falls to zero.
    dim
        Numbers a word: more tell more kinds apart, and make training and the model larger.
    bucket
        Slots that runs of words share: each costs `dim` times 4 bytes of the model.
    held_out
        The share of the examples that is scored instead of trained on.
    seed
        The start of all chance; the same one gives the same bytes.
    json
        Print the scores as JSON.
    """
    from cleanpipe.cli.console import Progress, show_fit  # noqa: PLC0415
    from cleanpipe.measures.quality import chosen  # noqa: PLC0415

    options = {"epochs": epochs, "ngrams": ngrams, "lr": lr, "dim": dim, "bucket": bucket}
    options |= {"held_out": held_out, "seed": seed}
    with Progress(Console(stderr=True, highlight=False)) as progress:
        done = chosen(text=text, **options).train(good, bad, output, progress.tell)
    if json:
        sys.stdout.write(orjson.dumps(done, option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        show_fit(Console(highlight=False), done)
    return 0

"""A line a step, written while a model trains: which tokens it was given, and 8 bytes as proof.

For a plain loop:

    with StepLog("steps.jsonl") as log:
        for step in range(steps):
            for x, places in micro_batches:
                log.batch(x, starts=places)          # or documents=rows, or nothing: the digest
                ...
            log.step(step, loss=loss, grad_norm=norm)

For Hugging Face Trainer:

    trainer.add_callback(StepLog("steps.jsonl").callback(trainer.model))

With an exported dataset folder and `remove_unused_columns=False` it notes the documents, too.

A line has the keys step, digest (16 hexadecimal digits, see `export.exposure.digest`), sequences,
tokens, spans ([file, start, length], where starts were given), documents ([row, tokens], where rows
were), and whatever `step` was told. `export.step_log` reads it. Several ranks write a file each.
Torch is imported by nothing here: a batch may be a tensor, an array, or lists.
"""

import os
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import orjson

from cleanpipe.export.exposure import digest

DOCUMENT = "document"
"""The column of an exported dataset that says which document a row is."""


class StepLog:
    """Writes a line of JSON for each step of training, at its end."""

    def __init__(self, path: str | PathLike[str]) -> None:
        """Lines are added to what the file holds, so that a resumed run goes on in it.

        A line that a kill cut off is taken away first.
        """
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            os.truncate(self.path, self.path.read_bytes().rfind(b"\n") + 1)
        self._file = self.path.open("ab", buffering=0)  # a killed run keeps every whole line
        self._clear()

    def _clear(self) -> None:
        self._digest = self._sequences = self._tokens = 0
        self._spans: list[list[int]] = []
        self._documents: list[list[int]] = []

    def batch(
        self,
        sequences: Any,
        *,
        starts: Any = None,
        file: int = 0,
        documents: Any = None,
        mask: Any = None,
    ) -> None:
        """Note a batch, or the part of it that one micro step or rank has: (n, length) token ids.

        Give it before it goes to an accelerator, which is waited for otherwise. `starts` are the
        places of the sequences' first tokens in token file `file`, `documents` the rows of an
        exported dataset; `mask` is 0 at padding, which then counts nowhere.
        """
        rows = np.atleast_2d(_array(sequences))
        keep = np.ones(rows.shape, bool) if mask is None else np.atleast_2d(_array(mask)) != 0
        lengths = keep.sum(axis=1)
        if keep.all():
            self._digest += digest(rows)
        else:
            self._digest += sum(digest(row[own]) for row, own in zip(rows, keep, strict=True))
        self._sequences += len(rows)
        self._tokens += int(lengths.sum())
        if starts is not None:
            places = np.ravel(_array(starts)).tolist()
            self._spans += [[file, *each] for each in zip(places, lengths.tolist(), strict=True)]
        if documents is not None:
            numbers = np.ravel(_array(documents)).tolist()
            self._documents += [list(each) for each in zip(numbers, lengths.tolist(), strict=True)]

    def step(self, step: int, **values: float | None) -> None:
        """End a step: write its line. `values` are numbers such as loss, grad_norm and lr."""
        line: dict[str, Any] = {"step": int(step)}
        line["digest"] = f"{self._digest % (1 << 64):016x}"
        line |= {"sequences": self._sequences, "tokens": self._tokens}
        if self._spans:
            line["spans"] = self._spans
        if self._documents:
            line["documents"] = self._documents
        line |= {name: None if value is None else float(value) for name, value in values.items()}
        self._file.write(orjson.dumps(line) + b"\n")
        self._clear()

    def close(self) -> None:
        """Close the file; a step that was not ended has no line."""
        self._file.close()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.close()

    def callback(self, model: Any) -> Any:
        """A callback for Hugging Face Trainer, which trains `model`. Needs transformers.

        It sees what the model is given (a hook before its forward pass, in training only), and
        takes the column `document` away before the model would be surprised by it. The step is
        Trainer's own number, as in trainer_state.json.
        """
        from transformers import TrainerCallback  # noqa: PLC0415 - whoever has a Trainer has it

        log = self

        def look(module: Any, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
            documents = named.pop(DOCUMENT, None)
            if module.training:
                ids = named["input_ids"] if "input_ids" in named else args[0]
                log.batch(ids, documents=documents, mask=named.get("attention_mask"))
            return args, named

        model.register_forward_pre_hook(look, with_kwargs=True)

        class Recorder(TrainerCallback):  # type: ignore[misc]
            """Writes the line when Trainer says that a step has ended."""

            def on_step_end(self, _arguments: Any, state: Any, _control: Any, **_: Any) -> None:
                log.step(state.global_step)

            def on_train_end(self, *_: Any, **__: Any) -> None:
                log.close()

        return Recorder()


def _array(values: Any) -> npt.NDArray[Any]:
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    return np.asarray(values)

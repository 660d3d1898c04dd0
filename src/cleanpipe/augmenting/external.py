"""The recipe's `augment.external`: what is asked of a model elsewhere, and of its answers."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

PLACE = "{text}"
"""Where the document goes in a prompt."""


class Ratio(BaseModel):
    """How long an answer may be, as a share of its parent's characters."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    low: Annotated[float, Field(gt=0)] = 0.5
    """The least: below it too much was left out."""
    high: Annotated[float, Field(gt=0)] = 2
    """The most: above it too much was made up."""


class External(BaseModel):
    """What is asked of a model elsewhere, and what its answers must be."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    generator: Annotated[str, Field(min_length=1)]
    """The model's name and version, as it is recorded in every document it made."""
    prompts: dict[str, str] = Field(min_length=1)
    """Prompts by name, each with `{text}` where the document goes; chance picks one for each."""
    length: Ratio = Ratio()
    """Bounds on an answer's length over its parent's, in characters."""
    max_similarity: Annotated[float, Field(ge=0, le=1)] = 0.8
    """An answer that is more similar to its parent, by word 5-grams, is no rephrasing: the next
    run would drop it as a near-duplicate."""

    @model_validator(mode="after")
    def _have_a_place(self) -> Self:
        for name, prompt in self.prompts.items():
            if PLACE not in prompt:
                raise ValueError(
                    f"prompt {name!r} does not say where the document goes: add {PLACE}"
                )
        return self

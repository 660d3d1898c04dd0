"""Where a run's output goes, and in which form."""

from typing import Annotated, Literal

from pydantic import BaseModel, ByteSize, ConfigDict, Field, field_validator


class Output(BaseModel):
    """What is written, and where."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    path: Annotated[str, Field(min_length=1)]
    """The folder of the output, from the recipe's folder. It holds the runs and their books."""
    format: Literal["parquet", "arrow", "jsonl"] = "parquet"
    """The form of the parts; JSON lines are larger and slower to write and to read."""
    shard_size: Annotated[ByteSize, Field(gt=0)] = ByteSize(256_000_000)
    """Text in one part, uncompressed: bytes, or a size such as 256MB. Larger parts are fewer tasks
    and need more memory."""
    columns: tuple[str, ...] = ()
    """Measures to write beside the text."""
    on_conflict: Literal["error", "string"] = "error"
    """What happens to a column that has types without a common one in different shards."""
    publish_to: Annotated[str, Field(pattern=r"^s3://[^/]+(/.*)?$")] | None = None
    """Where else to publish: S3-compatible storage, s3://bucket/prefix. AWS_ENDPOINT_URL names one
    that is not Amazon's."""
    publish_alone: bool = False
    """Publish also to storage that knows no conditional puts: it cannot keep apart two who publish
    to one place at once, and this says that nobody does. Elsewhere it changes nothing."""

    @field_validator("columns")
    @classmethod
    def _once(cls, columns: tuple[str, ...]) -> tuple[str, ...]:
        twice = [name for name in columns if columns.count(name) > 1]
        if twice:
            raise ValueError(f"{twice[0]!r} is listed twice")
        return columns

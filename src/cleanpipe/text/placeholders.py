"""Stretches of text that a placeholder of the user's choice takes the place of."""

import ipaddress
import sys
from functools import cache
from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from cleanpipe.kernels import addresses, spans
from cleanpipe.kernels.buffers import text_buffers
from cleanpipe.text.draft import as_arrow

# Letters of scripts that put no space after an address do not belong to it.
_LETTER = (
    r"[\pL&&[^\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Bopomofo}\p{Thai}\p{Lao}\p{Khmer}"
    r"\p{Myanmar}]]"
)
# What RFC 3986 allows but parentheses, and what it lets end an address that no text goes on with.
_INSIDE = rf"(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'*+,;=%]|{_LETTER}|\pM)"
_LAST = rf"(?:[A-Za-z0-9\-_~/#@$&*+=%]|{_LETTER}|\pM)"
_REST = rf"(?:{_INSIDE}|\({_INSIDE}*\))*(?:{_LAST}|\({_INSIDE}*\))"
URL = (
    rf"(?i)\b(?:(?:https?|ftp)://{_REST}"
    rf"|www\.[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{{2,}}(?:[:/?#]{_REST})?)"
)
"""http, https and ftp addresses, and names that begin with www. A full stop or comma at the end,
and a parenthesis that opened before the address, are the text's."""
MAY_BE_URL = r"(?i)://|www\."


def _quiet(placeholder: str) -> str:
    if "." in placeholder or "//" in placeholder:
        raise ValueError(
            f"the placeholder {placeholder!r} could be read as an address: choose one without a "
            "dot and without two slashes, such as <URL>"
        )
    return placeholder


def off_if_false(value: object) -> object:
    """`false` switches an option off as null does: a recipe so undoes what a preset brings."""
    return None if value is False else value


Off = Literal[False] | None
Placeholder = Annotated[str | None, BeforeValidator(off_if_false, json_schema_input_type=str | Off)]
UrlPlaceholder = Annotated[str, AfterValidator(_quiet)]


def without_urls(texts: pl.Series, placeholder: str) -> pl.Series:
    """Replace web addresses.

    >>> without_urls(pl.Series(["See http://a.b/c?d=1, or (www.e.org)."]), "<URL>").to_list()
    ['See <URL>, or (<URL>).']
    """
    return texts.str.replace_all(URL, placeholder.replace("$", "$$"))


class Pii(BaseModel):
    """Personal data replaced by placeholders; what is left out or null stays in the text.

    What counts as an address is what datatrove's PIIFormatter matches, so that the same spans go.

    >>> pii = Pii(email="<EMAIL>", ip="<IP>")
    >>> pii.ips(pii.emails(pl.Series(["a.b@c.de at 8.8.8.8, not 10.0.0.1"]))).to_list()
    ['<EMAIL> at <IP>, not 10.0.0.1']
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    email: Placeholder = None
    """What stands for an e-mail address. FineWeb writes `email@example.com`, which is an address
    again: a placeholder must not be one, nor join with what stands beside it to one."""
    ip: Placeholder = None
    """What stands for an IPv4 address; four numbers with dots in a version or a section are one,
    too. IPv6 addresses stay."""
    public_only: bool = True
    """Whether only public IP addresses go; private and reserved ones (10.0.0.1, 127.0.0.1) point at
    nobody."""

    @model_validator(mode="after")
    def _settled(self) -> Self:
        probes = self.model_copy(update={"email": "", "ip": ""})
        if self.email is not None:
            known = set(np.flatnonzero(addresses.byte_classes() & addresses.ATOM))
            ends = {*self.email.encode()[:1], *self.email.encode()[-1:]}
            inside = pl.Series([self.email, f"a@{self.email}"])
            if ends & (known | set(b".@:")) or (probes.emails(inside) != inside).any():
                raise ValueError(_unfit("email", self.email, "an e-mail address", "<EMAIL>"))
        if self.ip is not None:
            ends = {*self.ip.encode()[:1], *self.ip.encode()[-1:]}
            inside = pl.Series([self.ip])
            if ends & set(b"0123456789.") or (probes.ips(inside) != inside).any():
                raise ValueError(_unfit("ip", self.ip, "an IP address", "<IP>"))
        return self

    def emails(self, texts: pl.Series) -> pl.Series:
        """The texts with e-mail addresses replaced."""
        array = as_arrow(texts)
        classes = addresses.byte_classes()
        found = addresses.email_spans(*text_buffers(array), classes, word_characters())
        return _replaced(array, found, self.email or "")

    def ips(self, texts: pl.Series) -> pl.Series:
        """The texts with IP addresses replaced."""
        array = as_arrow(texts)
        classes = addresses.byte_classes()
        *found, numbers = addresses.ip_spans(*text_buffers(array), classes)
        different, which = np.unique(numbers, return_inverse=True)
        gone = np.array([self._goes(number) for number in different.tolist()], np.bool_)[which]
        documents, starts, ends = (part[gone] for part in found)
        return _replaced(array, (documents, starts, ends), self.ip or "")

    def _goes(self, number: int) -> bool:
        return number >= 0 and (not self.public_only or ipaddress.IPv4Address(number).is_global)


def _unfit(option: str, placeholder: str, what: str, such_as: str) -> str:
    return (
        f"{option}: the placeholder {placeholder!r} is, or could join with its neighbours to, "
        f"{what}: choose one that begins and ends with other characters, such as {such_as}"
    )


class UnbrokenRuns(BaseModel):
    """Long stretches without white space, such as base64: rarely language, often one per page.

    Letters of scripts that are written without spaces end a stretch.

    >>> UnbrokenRuns(longer_than=10)(pl.Series(["see data:AAAAAAAAAAAA now"])).to_list()
    ['see  now']
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    longer_than: Annotated[int, Field(ge=10)] = 1000
    """Characters; a longer stretch goes. 1,000 is C4's bound for a word (Raffel et al. 2020, and
    its code)."""
    placeholder: str = ""
    """What stands for the stretch; the empty text removes it."""

    @model_validator(mode="after")
    def _shorter(self) -> Self:
        if len(self.placeholder) >= self.longer_than // 2:
            raise ValueError(
                f"placeholder: has {len(self.placeholder)} characters, expected fewer than half of "
                f"longer_than ({self.longer_than}): it would be a run itself"
            )
        return self

    def may_hold(self, texts: pl.Series) -> pl.Series:
        """Whether each text has a stretch that is too long."""
        documents, _, _ = self._spans(as_arrow(texts))
        found = np.zeros(len(texts), np.bool_)
        found[documents] = True
        return pl.Series(found)

    def __call__(self, texts: pl.Series) -> pl.Series:
        """The texts without long stretches."""
        array = as_arrow(texts)
        return _replaced(array, self._spans(array), self.placeholder)

    def _spans(self, texts: pa.LargeStringArray) -> spans.Spans:
        found: spans.Spans = spans.unbroken_runs(*text_buffers(texts), self.longer_than)
        return found


def _replaced(texts: pa.LargeStringArray, found: spans.Spans, placeholder: str) -> pl.Series:
    documents, starts, ends = found
    offsets, data = text_buffers(texts)
    new = np.frombuffer(placeholder.encode(), np.uint8)
    size = offsets[-1] - offsets[0] - (ends - starts).sum() + len(documents) * len(new)
    out = np.empty(size, np.uint8)
    ends_ = spans.replace(offsets, data, documents, starts, ends, new, out)
    buffers = pa.py_buffer(ends_), pa.py_buffer(out)
    return pl.Series(pl.from_arrow(pa.LargeStringArray.from_buffers(len(texts), *buffers)))


@cache
def word_characters() -> npt.NDArray[np.bool_]:
    r"""Whether each code point is one of Python's `\w`, between which there is no word boundary."""
    return np.array([chr(c).isalnum() or chr(c) == "_" for c in range(sys.maxunicode + 1)])

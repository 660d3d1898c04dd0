"""The line rules: what is cut out of lines, and which lines go. All are off unless asked for.

They are C4's (Raffel et al. 2020, arXiv 1910.10683, section 2.2, and c4_utils.py of TensorFlow
Datasets), RefinedWeb's line-wise corrections (Penedo et al. 2023, arXiv 2306.01116, appendix G.2)
with the parameters that DCLM published for them (dclm_baseline_refinedweb.yaml), and one of ours
for text that was converted from pages. Rules that drop documents are filter's, over measures.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from cleanpipe.kernels.buffers import text_buffers
from cleanpipe.kernels.line_content import ANY_MARKS, C4_MARKS
from cleanpipe.kernels.line_rules import LineRule, Options, apply_rules
from cleanpipe.text.draft import Step

LINE_FIXES: tuple[str, ...] = tuple(rule.name.lower() for rule in LineRule)
"""All line rules, in the order of the bits in `Ruled.fixes` and of application."""


def _null_is_off(value: object) -> object:
    return False if value is None else value


Off = Annotated[
    Literal[False],
    BeforeValidator(_null_is_off, json_schema_input_type=Literal[False] | None),
]
Switch = Annotated[bool, BeforeValidator(_null_is_off, json_schema_input_type=bool | None)]
MARKS = {False: 0, "c4": C4_MARKS, "any": ANY_MARKS}


@dataclass(frozen=True, slots=True)
class Ruled:
    """What `Lines.apply` returns."""

    texts: pa.LargeStringArray
    """The texts by the rules: the very array that came in, if nothing changed."""
    fixes: npt.NDArray[np.uint32]
    """The rules that changed each document: bit i stands for LINE_FIXES[i]."""
    words: npt.NDArray[np.int64]
    """The words of each document before the rules."""
    removed: npt.NDArray[np.int64]
    """How many of them the rules removed."""


class Lines(BaseModel):
    r"""Cut lines, and drop lines, by rules. `false` or `null` switches a rule off.

    A line ends at a line feed. What stays of a text stays as it is, byte for byte: the white space
    at both ends of a line, and every line of nothing but white space, since it separates
    paragraphs. A line of which a cut leaves nothing goes. Cuts come before the rules that drop
    lines, and those judge the line as the cuts leave it; so a second application changes nothing.

    >>> rules = Lines(citations=True, unterminated_lines="c4", short_lines=3)
    >>> texts = pa.array(["Home | News\n  So it was.[1]\n\nYes."], pa.large_string())
    >>> rules.apply(texts).texts.to_pylist()
    ['  So it was.\n']
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    running_lines: Annotated[int, Field(ge=3, le=1000)] | Off = False
    """How often a line must recur to be a running head or foot; page numbers go with them. 4 is
    safe: nothing counts that does not stand at a page break, found by form feeds, by lines such as
    `Page 3 of 12`, or by numbers that rise by one at regular distances. Text without page numbers
    and form feeds keeps its heads; numbers over 999 are years. Ours, of no paper."""
    citations: Switch = False
    """Cut `[1]`, `[]`, `[edit]` and `[citation needed]`, as C4 does. In code `a[0]` becomes `a`."""
    navigation: Annotated[int, Field(ge=1, le=100)] | Off = False
    """In lines of at most so many words cut `items in cart`, `Sign-in` at the start and
    `Read more...` at the end. RefinedWeb: 10, with these three as its examples."""
    uppercase_lines: Annotated[float, Field(ge=0, lt=1)] | Off = False
    """Drop lines of which a larger share of characters is upper case. RefinedWeb: "mainly"; DCLM:
    0.5. Headings, acronyms and shouting go alike."""
    numeric_lines: Switch = False
    """Drop lines that hold nothing but digits, as RefinedWeb does; `1,234` and `12 34` stay."""
    counter_lines: Switch = False
    """Drop lines such as `3 likes` or `1.2K views`: a number and what web pages count, in English
    (RefinedWeb; the words are DCLM's and their singulars)."""
    long_word_lines: Annotated[int, Field(ge=1)] | Off = False
    """Drop lines with a word of more characters. C4: 1000."""
    unterminated_lines: Literal["c4", "any"] | Off = False
    """Drop lines that do not end a sentence; an ellipsis does not end one. `c4`: . ? ! " and ' are
    the only marks, which leaves little of most scripts but Latin. `any`: also the marks of all
    other scripts, closing quotes, and a mark before closing quotes and brackets. The rule of C4
    that removes most: headings, lists, tables, verse."""
    short_lines: Annotated[int, Field(ge=2)] | Off = False
    """Drop lines of fewer words. C4: 3, in its generator and later versions 5;
    RefinedWeb: 2."""
    javascript_lines: Switch = False
    """Drop lines that mention JavaScript, as C4 does: notices that it should be enabled, and every
    sentence about it."""
    policy_lines: Switch = False
    """Drop lines that mention terms of use, a privacy or cookie policy, or the use of cookies, by
    C4's six phrases."""

    def __bool__(self) -> bool:
        """Whether any rule is on."""
        return any(getattr(self, rule) is not False for rule in LINE_FIXES)

    def _options(self) -> Options:
        """As numba takes them: one type an option."""
        return Options(
            running_lines=int(self.running_lines),
            citations=int(self.citations),
            navigation=int(self.navigation),
            uppercase_lines=1.0 if self.uppercase_lines is False else float(self.uppercase_lines),
            numeric_lines=int(self.numeric_lines),
            counter_lines=int(self.counter_lines),
            long_word_lines=int(self.long_word_lines),
            unterminated_lines=MARKS[self.unterminated_lines],
            short_lines=int(self.short_lines),
            javascript_lines=int(self.javascript_lines),
            policy_lines=int(self.policy_lines),
        )

    def apply(self, texts: pa.LargeStringArray) -> Ruled:
        """Apply the rules to many texts, none of them null."""
        offsets, data = text_buffers(texts)
        out = np.empty(offsets[-1] - offsets[0], np.uint8)
        new_offsets, fixes, before, after = apply_rules(offsets, data, self._options(), out)
        if fixes.any():
            buffers = pa.py_buffer(new_offsets), pa.py_buffer(out[: new_offsets[-1]])
            texts = pa.LargeStringArray.from_buffers(len(texts), *buffers)
        return Ruled(texts, fixes, before, before - after)

    def explain(self, text: str) -> list[str]:
        r"""What each rule did to one text, a line a rule, with the first of its changes.

        >>> for line in Lines(citations=True, short_lines=2).explain("So it was.[1]\nMenu\nShop"):
        ...     print(line)
        citations: at character 10, 'So it was.[1]\nMenu\nShop' became 'So it was.\nMenu\nShop'
        short_lines (2 lines): at character 10, 'So it was.\nMenu\nShop' became 'So it was.'
        """
        return [str(step) for step in self.steps(text)]

    def steps(self, text: str) -> Iterator[Step]:
        """What each rule did to one text, one after the other."""
        on: dict[str, Any] = {}
        before = text
        for rule in LINE_FIXES:
            on[rule] = getattr(self, rule)
            if on[rule] is False:
                continue
            # A rule changes what those before it leave: with them it does what it does with all.
            alone = Lines(**on).apply(pa.array([text], pa.large_string()))
            after = alone.texts[0].as_py()
            if after != before:
                lines = len(before.split("\n")) - len(after.split("\n"))
                how = f"{lines} line{'s' * (lines > 1)}" if lines else ""
                yield Step(rule, how, before, after)
            before = after

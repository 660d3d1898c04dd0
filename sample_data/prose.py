"""Invented prose: sentences put together from the phrases in phrases/, never the same twice."""

from pathlib import Path

import numpy as np

PHRASES = Path(__file__).with_name("phrases")
LANGUAGES = ("en", "de", "es", "fr", "ru", "ja")


def phrases(lang: str) -> dict[str, list[str]]:
    """The sections of a phrase file: a line in brackets names the list that follows."""
    sections: dict[str, list[str]] = {}
    for line in (PHRASES / f"{lang}.txt").read_text("utf-8").splitlines():
        if line.startswith("["):
            current = sections.setdefault(line.strip("[]"), [])
        else:
            current.append(line)
    return sections


def sentence(lang: str, time: str, subject: str, action: str, place: str) -> str:
    """One sentence of four phrases, in the word order of its language."""
    if lang == "de":
        verb, rest = action.split(" | ")
        return f"{time} {verb} {subject} {rest} {place}."
    if lang == "ru":
        return f"{time} {subject} {action} {place}."
    if lang == "ja":
        return f"{time}、{subject}は{place}{action}。"
    return f"{time}, {subject} {action} {place}."


class Author:
    """Writes documents of one language; a phrase returns only when all others had their turn."""

    def __init__(self, lang: str, seed: int) -> None:
        self.lang = lang
        self.random = np.random.RandomState(seed)  # its stream is frozen, unlike a Generator's
        self.phrases = phrases(lang)
        self.waiting: dict[str, list[str]] = {}

    def take(self, section: str) -> str:
        if not self.waiting.get(section):
            order = self.random.permutation(len(self.phrases[section]))
            self.waiting[section] = [self.phrases[section][place] for place in order]
        return self.waiting[section].pop()

    def sentence(self) -> str:
        slots = (self.take(name) for name in ("times", "subjects", "actions", "places"))
        return sentence(self.lang, *slots)

    def sentences(self, count: int) -> list[str]:
        """Every third one is a remark. No phrase comes twice in 42 sentences, 60 in English."""
        self.waiting = {}
        return [
            self.take("remarks") if place % 3 == 2 else self.sentence() for place in range(count)
        ]

    def paragraphs(self, sentences: list[str]) -> str:
        """Three to five sentences a paragraph, a paragraph a line, a blank line between."""
        glue = "" if self.lang == "ja" else " "
        blocks = []
        while sentences:
            size = self.random.randint(3, 6)
            blocks.append(glue.join(sentences[:size]))
            sentences = sentences[size:]
        return "\n\n".join(blocks)

    def prose(self, low: int = 9, high: int = 16) -> str:
        return self.paragraphs(self.sentences(self.random.randint(low, high + 1)))

"""What is planted: one function a fault, which makes a text that has it and nothing else wrong."""

import html
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from prose import Author

MARKET = """
Our market opens every Saturday at seven. Farmers bring ripe plums, brown eggs, wild honey. Anna
sells fresh rye bread from her uncle's bakery. Peter offers smoked eel plus pickled herring. Their
cousins carry heavy crates holding green apples down from higher valleys. Some stalls trade used
books, sheet music, old clocks. Others display woven baskets or copper kettles. Prices fall shortly
before noon. Nobody bargains over candles. Children run between tables, eating warm buns. When rain
comes, traders pull canvas covers across everything. Afterwards two sweepers clear straw, leaves,
broken boxes. By four o'clock only pigeons remain.
"""
COMPOUND = (
    ("Leuchtturm", "Hafenmeister", "Schleusentor", "Wasserstand", "Brückenbau", "Nebelhorn"),
    ("wärter", "prüfungs", "verwaltungs", "beleuchtungs", "versicherungs", "instandhaltungs"),
    ("verordnung", "genossenschaft", "bescheinigung"),
)


@dataclass(frozen=True)
class Fault:
    """A kind of fault, and what must happen to a document that has it."""

    verdict: str
    stage: str
    rule: str
    why: str


KEPT = ("kept", "", "")
FAULTS = {
    "none": Fault(*KEPT, "clean prose"),
    "mojibake": Fault(*KEPT, "UTF-8 that was read as cp1252 is repaired"),
    "html_entities": Fault(*KEPT, "entities become the characters they stand for"),
    "control_characters": Fault(*KEPT, "control characters are taken out"),
    "terminal_escapes": Fault(*KEPT, "a terminal's colour codes are taken out"),
    "crlf": Fault(*KEPT, "line ends become newlines"),
    "decomposed": Fault(*KEPT, "letters and their accents are composed (NFC)"),
    "similar": Fault(*KEPT, "a quarter is rewritten: Jaccard about 0.6, below 0.8"),
    "some_bullets": Fault(*KEPT, "half of the lines are bullets, 90 % are allowed"),
    "short_run": Fault(*KEPT, "a token 20 times in a row, 31 are allowed"),
    "short_japanese": Fault(*KEPT, "no spaces, but every character of it is a word"),
    "null": Fault("dropped", "read", "null_text", "there is no text"),
    "empty": Fault("dropped", "normalize", "empty", "the text is empty"),
    "only_spaces": Fault("dropped", "normalize", "empty", "nothing but spaces and line ends"),
    "not_utf8": Fault("quarantined", "read", "not_utf8", "a line of latin-1 bytes"),
    "not_json": Fault("quarantined", "read", "not_json", "a line cut in the middle"),
    "not_an_object": Fault(
        "quarantined", "read", "not_an_object", "a list where a document is due"
    ),
    "too_short": Fault("dropped", "filter", "words", "fewer than 50 words"),
    "too_long": Fault("dropped", "filter", "words", "more than 100,000 words"),
    "long_words": Fault("dropped", "filter", "mean_word_length", "words of 25 letters on average"),
    "base64_run": Fault("dropped", "filter", "mean_word_length", "g4ODg4OD..., 2,400 characters"),
    "hashtags": Fault("dropped", "filter", "hash_word_ratio", "every third word has a #"),
    "bullet_list": Fault("dropped", "filter", "bullet_line_frac", "every line is a bullet"),
    "ellipsis_lines": Fault(
        "dropped", "filter", "ellipsis_line_frac", "half of the lines trail off"
    ),
    "numbers": Fault("dropped", "filter", "alpha_word_frac", "most words are numbers"),
    "no_stop_words": Fault("dropped", "filter", "stop_words", "English without the, of, and, ..."),
    "repeated_line": Fault("dropped", "filter", "dup_line_frac", "one line 40 times"),
    "repeated_phrase": Fault(
        "dropped", "filter", "top_2gram_char_frac", "two words make a third of the text"
    ),
    "token_flood": Fault("dropped", "filter", "top_2gram_char_frac", "a single token 200 times"),
    "repeated_sentence": Fault(
        "dropped", "filter", "dup_5gram_char_frac", "a sentence 5 times within its paragraphs"
    ),
    "token_run": Fault("dropped", "filter", "repeat_run", "a single token 40 times in a row"),
    "number_run": Fault("dropped", "filter", "repeat_run", "'255, ' 40 times in a row"),
    "exact_duplicate": Fault("dropped", "dedup", "exact", "the same text"),
    "exact_after_repair": Fault("dropped", "dedup", "exact", "the same text once it is repaired"),
    "near_duplicate": Fault("dropped", "dedup", "near", "a few words lost: Jaccard about 0.9"),
}


def mojibake(text: str) -> str:
    """UTF-8 read as cp1252; its five undefined bytes are read as latin-1, as browsers do."""
    data = text.encode()
    characters = (bytes([byte]) for byte in data)
    return "".join(
        one.decode("latin-1" if one in b"\x81\x8d\x8f\x90\x9d" else "cp1252") for one in characters
    )


def html_entities(text: str) -> str:
    """Every third letter that has a name in HTML is written by it, and so is an ampersand."""
    escaped = html.escape(text.replace(", ", " & ", 2))
    named = {"é": "&eacute;", "ü": "&uuml;", "ä": "&auml;", "ñ": "&ntilde;", "à": "&agrave;"}
    return "".join(named.get(character, character) for character in escaped)


def control_characters(text: str) -> str:
    words = text.split(" ")
    return " ".join(
        f"\x07{word}\x0b" if place % 9 == 4 else word for place, word in enumerate(words)
    )


def terminal_escapes(text: str) -> str:
    words = text.split(" ")
    coloured = (
        f"\x1b[31m{word}\x1b[0m" if place % 8 == 3 else word for place, word in enumerate(words)
    )
    return " ".join(coloured)


def crlf(text: str) -> str:
    return text.replace("\n", "\r\n")


def decomposed(text: str) -> str:
    return unicodedata.normalize("NFD", text)


REPAIRED: dict[str, Callable[[str], str]] = {
    "mojibake": mojibake,
    "html_entities": html_entities,
    "control_characters": control_characters,
    "terminal_escapes": terminal_escapes,
    "crlf": crlf,
    "decomposed": decomposed,
}


def lines(author: Author, count: int) -> list[str]:
    author.waiting = {}
    return [author.sentence() for _ in range(count)]


def with_run(author: Author, run: str) -> str:
    """A run in the middle of a document so long that none of Gopher's shares notices."""
    sentences = author.sentences(54)
    return author.paragraphs(sentences[:27]) + f" {run} " + author.paragraphs(sentences[27:])


def repeated_sentence(author: Author) -> str:
    sentences = author.sentences(9)
    for place in (2, 4, 6, 8):
        sentences.insert(place, sentences[0])
    return author.paragraphs(sentences)


def numbers(author: Author) -> str:
    table = author.random.randint(1000, 9999, (24, 7))
    return "\n".join(
        f"Gauge at the weir and lock {' '.join(map(str, row))}" for row in table.tolist()
    )


def long_words() -> str:
    first, second, third = COMPOUND
    return " und ".join(a + b + c for a in first for b in second for c in third)


PLANTED: dict[str, Callable[[Author], str]] = {
    "some_bullets": lambda author: "\n".join(
        f"- {line}" if place % 2 else line for place, line in enumerate(lines(author, 12))
    ),
    "short_run": lambda author: with_run(author, " ".join(["o"] * 20)),
    "short_japanese": lambda author: author.paragraphs(author.sentences(4)),
    "too_short": lambda author: author.sentence(),
    "too_long": lambda _: "the bell of the harbour rings again " * 14_500,
    "long_words": lambda _: long_words(),
    "base64_run": lambda author: author.prose(9, 9) + "\n\n" + "g4OD" * 600,
    "hashtags": lambda author: " ".join(
        word if place % 3 else f"#{word}" for place, word in enumerate(author.prose(6, 6).split())
    ),
    "bullet_list": lambda author: "\n".join(f"• {line}" for line in lines(author, 12)),
    "ellipsis_lines": lambda author: "\n".join(
        line[:-1] + "..." if place % 2 else line for place, line in enumerate(lines(author, 12))
    ),
    "numbers": numbers,
    "no_stop_words": lambda _: " ".join(MARKET.split()),
    "repeated_line": lambda author: "\n".join([author.sentence()] * 40),
    "repeated_phrase": lambda author: " ".join(
        f"Our lantern festival greets {author.take('subjects')}." for _ in range(24)
    ),
    "token_flood": lambda author: author.prose(9, 9) + "\n\n" + " ".join(["hush"] * 200),
    "repeated_sentence": repeated_sentence,
    "token_run": lambda author: with_run(author, " ".join(["o"] * 40)),
    "number_run": lambda author: with_run(author, "255, " * 40),
}

"""The stability measures in slow and obvious Python, and OLMo's periodic sequences beside them."""

import re
import unicodedata
from itertools import groupby, pairwise

from reference import SPACES, is_solo, tokenize

WINDOW, LONGEST_PERIOD, LEAST = 128, 13, 32


def stability_counts(text):
    """The columns of a scan that tell repeats and encoded data, by name."""
    tokens = [token for token, _ in tokenize(text)]
    run = max(unbroken_runs(text), default=0)
    return {
        "window_period_max": window_period_max(tokens),
        "same_token_run": max((len(list(same)) for _, same in groupby(tokens)), default=0),
        "unbroken_run": run if run >= LEAST else 0,
        "base64_chars": base64_chars(text),
        "hex_digits": hex_digits(text),
    }


def window_period_max(tokens):
    """Of the last 115 tokens of a window of 128; -1 where there is no window."""
    most = -1
    for end in range(WINDOW, len(tokens) + 1):
        window = tokens[end - WINDOW : end]
        for period in range(1, LONGEST_PERIOD + 1):
            equal = sum(window[i] == window[i - period] for i in range(LONGEST_PERIOD, WINDOW))
            most = max(most, equal)
    return most


def breaks(char):
    punctuation = not char.isascii() and unicodedata.category(char)[0] == "P"
    return char in SPACES or is_solo(char) or punctuation


def unbroken_runs(text):
    """The lengths of the runs of characters that do not break one."""
    return [len(list(run)) for broken, run in groupby(text, breaks) if not broken]


def base64_chars(text):
    chars = 0
    for run in re.finditer(r"([A-Za-z0-9+/_-]{32,})={0,2}", text):
        body = run[1]
        digits = re.findall("[0-9]", body)
        symbols = re.findall("[^A-Za-z0-9]", body)
        mixed = all(
            8 * sum(map(len, runs)) >= len(body) and 2 * sum(map(len, runs)) <= 5 * len(runs)
            for runs in (re.findall("[A-Z]+", body), re.findall("[a-z]+", body))
        )
        if (
            digits
            and 8 * len(symbols) <= len(body)
            and mixed
            and re.search("[g-tvwyzG-TVWYZ]", body)
        ):
            chars += len(run[0])
    return chars


def hex_digits(text):
    """Digits of successive words that are numbers of one length, with only ASCII between them."""
    numbers = [""]
    tokens = tokenize("".join(" \ufffd " if c in SPACES[6:] else c for c in text))
    for token, is_word in with_uuids(text, tokens):
        number = re.fullmatch("(?:0[xX]|[xXuU])?([0-9a-fA-F]{2,})", token)
        if is_word or not token.isascii():
            numbers.append(number[1] if number else "")
    stretches = ("".join(same) for _, same in groupby(numbers, len))
    return sum(
        len(stretch)
        for stretch in stretches
        if len(stretch) >= LEAST
        and re.search("[0-9]", stretch)
        and len(set(re.findall("[a-f]", stretch.lower()))) >= 3
    )


def with_uuids(text, tokens):
    """The tokens, and in place of the nine of a UUID the one number that it is."""
    place = 0
    while tokens:
        nine = "".join(token for token, _ in tokens[:9])
        found = text.find(tokens[0][0], place)
        at = place if found < 0 else found  # a mark for a space stands nowhere
        is_uuid = (
            [len(token) for token, _ in tokens[:9]] == [8, 1, 4, 1, 4, 1, 4, 1, 12]
            and re.fullmatch("(?:[0-9a-fA-F]+-){4}[0-9a-fA-F]+", nine)
            and text.startswith(nine, at)
        )
        yield (nine.replace("-", ""), True) if is_uuid else tokens[0]
        place = at if found < 0 else at + (len(nine) if is_uuid else len(tokens[0][0]))
        tokens = tokens[9 if is_uuid else 1 :]


def periodic_sequences(tokens):
    """(start, end, period, times) of what OLMo's filter finds in a sequence.

    Rows of `period` tokens that equal the row before are grouped; the part of the row before
    a group, and of the row behind it, that goes on with the period belongs to it. Only what is
    there three times or more is told (olmo/data/util.py, find_periodic_sequences).
    """
    found = []
    for period in range(1, min(LONGEST_PERIOD, len(tokens) // 3) + 1):
        rows = [tokens[i : i + period] for i in range(0, len(tokens), period)]
        equal = [False] + [above == row for above, row in pairwise(rows)]
        for same, group in groupby(range(len(rows)), equal.__getitem__):
            if not same:
                continue
            numbers = list(group)
            start, end = (numbers[0] - 1) * period, (numbers[-1] + 1) * period
            while end < len(tokens) and tokens[end] == tokens[end - period]:
                end += 1
            while start > 0 and tokens[start - 1] == tokens[start - 1 + period]:
                start -= 1
            if (end - start) // period > 2:
                found.append((start, end, period, (end - start) // period))
    return found

"""What documents share with evaluation examples, slowly: strings in sets, a word at a time."""

from collections import Counter

from reference import fold, tokenize


def words_of(text):
    """The folded words of a text; its symbols where it has none."""
    tokens = tokenize(text)
    return [fold(token) for token, is_word in tokens if is_word] or [token for token, _ in tokens]


def runs_of(words, size):
    return [tuple(words[i : i + size]) for i in range(len(words) - size + 1)]


def size_of(words, ngram):
    return min(len(words), ngram) if len(words) >= min(ngram, 8) else 0


def places(starts, size):
    return {at + i for at in starts for i in range(size)}


def looked_for(examples, ngram):
    """Of each example the size of its runs, those that hold a word of its own, and these words."""
    known = [words_of(text) for text in examples]
    sizes = [size_of(words, ngram) for words in known]
    runs = [runs_of(words, size) if size else [] for words, size in zip(known, sizes, strict=True)]
    held_by = Counter(run for own in runs for run in set(own))
    most = max(10, len(examples) // 100)
    told = []
    for size, every in zip(sizes, runs, strict=True):
        template = places([at for at, run in enumerate(every) if held_by[run] > most], size)
        own = places(range(len(every)), size) - template
        kept = [
            (run, at)
            for at, run in enumerate(every)
            if held_by[run] <= most and own & places([at], size)
        ]
        told.append((size, kept, own))
    return told


def shared(document, examples, ngram):
    """(words, those inside an example's run, {example: (seen, of)}) of one document."""
    words = words_of(document)
    inside, met = set(), {}
    for number, (size, runs, own) in enumerate(looked_for(examples, ngram)):
        here = runs_of(words, size) if size else []
        wanted = {run for run, _ in runs}
        inside |= places([at for at, run in enumerate(here) if run in wanted], size)
        if seen := own & places([at for run, at in runs if run in set(here)], size):
            met[number] = (len(seen), len(own))
    return len(words), len(inside), met

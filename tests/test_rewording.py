"""Operations of augment that change words, quotes, case; infill's cuts; WordNet's files."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleanpipe.augmenting import infill, rewording
from cleanpipe.augmenting.augment import Augment
from cleanpipe.augmenting.likeness import similarity
from cleanpipe.augmenting.rearrange import sentence_drop, sentence_spans

CASES = json.loads((Path(__file__).parent / "cases" / "augment.json").read_text("utf-8"))
SEEDS = st.integers(0, 2**64 - 1)
FILES = {
    "index.noun": """  1 A licence
dogsled n 1 1 @ 1 0 00000100
run n 2 1 @ 2 1 00000200 00000300
entity n 1 1 @ 1 0 00000400
""",
    "data.noun": """  1 A licence
00000100 06 n 02 dogsled 0 sled_dog 0 000 | a sled drawn by dogs
00000200 06 n 02 run 0 tally 0 000 | a score
00000300 06 n 01 run 0 000 | a race
00000400 06 n 01 entity 0 000 | what is
""",
    "index.verb": "run v 1 1 @ 1 0 00000500\n",
    "data.verb": "00000500 06 v 02 run 0 hurry 0 000 01 + 02 00 | go fast\n",
}


@pytest.fixture
def folder(tmp_path):
    """A small dictionary in WordNet's format."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return str(tmp_path)


def make(operation, text, seed, folder):
    if operation == "synonyms":
        return rewording.synonyms(text, seed, rewording.wordnet(folder))
    if operation == "sentence_drop":
        return sentence_drop(text, seed)
    return getattr(rewording, operation)(text, seed)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['operation']}: {case['label']}")
def test_cases(case, folder):
    """What each operation makes of a text, or that it leaves it alone, whatever the seed."""
    made = {make(case["operation"], case["original"], seed, folder) for seed in range(5)}
    assert made == {case["expected"]}


@given(text=st.text(max_size=40), seed=SEEDS)
def test_case_touches_case_alone(text, seed):
    """Length and folded letters stay, so that no letter is lost: of one that has one other case."""
    made = rewording.case(text, seed)
    if made is not None:
        assert made != text
        assert len(made) == len(text)
        assert all(a == b or a in (b.lower(), b.upper()) for a, b in zip(made, text, strict=True))
        assert similarity(text, made) == 1


@pytest.mark.parametrize("letters", ["ß", "İ", "ŉ", "ﬁ", "ς"])
def test_letters_without_one_other_case_stay(letters):
    """The sharp s, the dotted I and ligatures have no other case that leads back to them."""
    assert {rewording.case(letters, seed) for seed in range(6)} == {None}


@given(
    words=st.lists(
        st.sampled_from(["Rain fell.", "It went on!", "Why so?"]), min_size=2, max_size=30
    ),
    seed=SEEDS,
)
def test_sentence_drop_takes_a_tenth(words, seed):
    """One sentence in ten, at least one, is gone; the others stand as they stood."""
    text = " ".join(words)
    made = sentence_drop(text, seed)
    left = [made[a:b] for a, b in sentence_spans(made)]
    assert len(left) == len(words) - max(1, len(words) // 10)
    rest = iter(words)
    assert all(sentence in rest for sentence in left)  # in their order
    assert "  " not in made
    assert made == made.strip()


@given(
    text=st.text("e\u0301a\U0001f468\u200d\U0001f469\U0001f1e9\U0001f1ea\U0001f44d\U0001f3fd\r\n"),
    seed=SEEDS,
)
def test_fim_cuts_nothing_that_is_drawn_as_one(text, seed):
    """Prefix, middle and suffix of a copy never begin with a mark, a skin tone or half a flag."""
    sentinels = ("<p>", "<s>", "<m>")
    made = infill.fim(text, seed, sentinels)
    if made is None:
        return
    assert infill.invert(made, sentinels) == text
    allowed = {text[place:] for place in infill.cuts(text)}
    suffix, moved = made.split("<s>")[1].split("<m>")
    assert suffix in allowed
    assert moved + suffix in allowed


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("abc", [0, 1, 2, 3]),
        ("a\r\nb", [0, 1, 3, 4]),
        ("\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7", [0, 2, 4]),
        ("x\U0001f1e9\U0001f1ea\U0001f1eby", [0, 1, 3, 4, 5]),
        ("\U0001f44d\U0001f3fd!", [0, 2, 3]),
        ("\u0301a", [0, 1, 2]),
        ("\u1112\u1161\u11ab", [0, 3]),
        ("\U0001f3f4\U000e0067\U000e007f.", [0, 3, 4]),
    ],
)
def test_where_a_text_may_be_cut(text, places):
    """Marks, joiners, skin tones, flags, tags, Hangul letters and CR LF hold together."""
    assert infill.cuts(text).tolist() == places


def test_a_folder_without_wordnet_is_refused(tmp_path):
    """The message names the folder and what it should hold."""
    with pytest.raises(ValueError, match=r"holds no index\.noun"):
        rewording.wordnet(str(tmp_path))


@pytest.mark.parametrize("line", ["dogsled", "dogsled n x 1 @ 1 0 00000100", "a n 99 1 @ 1 0 1"])
def test_a_damaged_dictionary_is_refused_with_its_line(folder, line):
    """A line that is none of WordNet's is named, with its number."""
    (Path(folder) / "index.noun").write_text(f"  licence\n{line}\n", encoding="utf-8")
    rewording.wordnet.cache_clear()
    with pytest.raises(ValueError, match=r"index\.noun line 2: found"):
        rewording.wordnet(folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"operations": ("synonyms",)}, "set wordnet"),
        ({"operations": ("case",), "wordnet": "x"}, "add synonyms"),
        ({"operations": ("case",), "similarity": {"crop": {}}}, "bounds crop"),
        ({"operations": ("fim",), "similarity": {"fim": {}}}, "bounds fim"),
        ({"operations": ("case",), "similarity": {"case": {"low": 1, "high": 0}}}, "is above high"),
        ({"operations": ("case",), "originals": 0.6, "max_share": 0.5}, "above max_share"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    """The model refuses what cannot be, and says what to do."""
    with pytest.raises(ValueError, match=message):
        Augment(**options)

"""What is left of HTML in text: tags, comments, and entities that lost their ampersand.

Element names and attributes without a value are those of the HTML Living Standard (its indices,
obsolete ones among them).
"""

import polars as pl

# A line of its own begins before and after each of these.
_BLOCKS = (
    "address article aside blockquote body br caption center dd details dialog dir div dl dt "
    "fieldset figcaption figure footer form frameset h1 h2 h3 h4 h5 h6 head header hgroup hr html "
    "legend li main menu nav noframes noscript ol optgroup option p pre search section summary "
    "table tbody tfoot thead title tr ul"
)
_CELLS = "td th"
_INLINE = (
    "a abbr acronym applet area audio b base basefont bdi bdo bgsound big blink button canvas cite "
    "code col colgroup data datalist del dfn em embed font frame i iframe image img input ins kbd "
    "label link map mark marquee meta meter nobr object output param picture progress q rb rp rt "
    "rtc ruby s samp script select small source span strike strong style sub sup svg template "
    "textarea time track tt u var video wbr"
)
# A tag without attributes is a tag whatever stands around it if its name is no word and no letter.
# The others are names of types and placeholders, too (List<object>, "cp <source> <dest>"): they are
# tags where the same document closes one of them.
_SURELY = (
    "blockquote br div em h1 h2 h3 h4 h5 h6 hr img li nobr ol p span strong tbody td tfoot thead "
    "tr tt ul wbr"
)
_VALUELESS = (
    "allowfullscreen async autofocus autoplay border checked compact controls defer disabled "
    "hidden ismap itemscope loop multiple muted nohref noresize noshade novalidate nowrap open "
    "readonly required reversed selected"
)


def _any(names: str) -> str:
    return f"(?:{'|'.join(names.split())})"


_ATTRIBUTE = (
    r"""(?:\s+[a-z_:@][\w:.@-]*\s*=\s*(?:"[^"<]*"|'[^'<]*'|[^\s"'<>=`]+)"""
    rf"|\s+{_any(_VALUELESS)})"
)


def _tags(names: str, *, bare: str) -> str:
    """An expression for tags of these names; those of `bare` alone may lack attributes."""
    alone = " ".join(name for name in names.split() if name in bare.split())
    known = _any(names)
    return rf"(?i)<(?:/{known}\s*|{known}{_ATTRIBUTE}+\s*/?|{_any(alone)}\s*/?)>"


_UNSURE = " ".join(sorted({*f"{_BLOCKS} {_CELLS} {_INLINE}".split()} - {*_SURELY.split()}, key=str))
_CLOSES_UNSURE = rf"(?i)</{_any(_UNSURE)}\s*>"
# Not text: comments, scripts and styles with what they hold, declarations. One at a time: an
# expression of alternatives could begin to look for the end of each at every start of another.
_NO_TEXT = (
    r"(?s)<!--.*?-->",
    r"(?is)<script(?:\s[^<>]*)?>.*?</script\s*>",
    r"(?is)<style(?:\s[^<>]*)?>.*?</style\s*>",
    r"(?i)<(?:!doctype\s[^<>]*|\?xml\s[^<>]*\?)>",
)

HTML = rf"(?i)<(?:/?{_any(f'{_BLOCKS} {_CELLS} {_INLINE}')}[\s/>]|!--|!doctype\s|\?xml\s)"
"""What a text must hold for `html` to change it."""


def html(texts: pl.Series) -> pl.Series:
    r"""Remove tags and comments of HTML; where a block begins or ends, a line does.

    Only elements of HTML, and of their tags only what is written as one: `a < b and c > d`,
    `vector<int>`, `<a@b.c>`, `<https://a.b>` and `> quoted` are none. Wrong where a text speaks
    about HTML or a program holds it: `print("<br>")` loses its tag. Tags of other XML stay.

    >>> html(pl.Series(["<p>one<br/>two <b>three</b></p>", "if a <b and c> d"])).to_list()
    ['\none\ntwo three\n', 'if a <b and c> d']
    """
    for expression in _NO_TEXT:
        texts = texts.str.replace_all(expression, "")
    paired = texts.str.contains(_CLOSES_UNSURE)
    rows, others = paired.arg_true(), (~paired).arg_true()
    everything = _without_tags(texts[rows], f"{_SURELY} {_UNSURE}")
    return texts.scatter(rows, everything).scatter(others, _without_tags(texts[others], _SURELY))


def _without_tags(texts: pl.Series, bare: str) -> pl.Series:
    texts = texts.str.replace_all(rf"{_tags(_BLOCKS, bare=bare)}[ \t]*", "\n")
    texts = texts.str.replace_all(_tags(_CELLS, bare=bare), " ")
    return texts.str.replace_all(_tags(_INLINE, bare=bare), "")


BROKEN_ENTITY = r"(?:amp|quot|lt|nbsp|#(?:34|39|x27|8216|8217|8220));"
"""What a text must hold for `broken_entities` to change it."""

# Never what follows an ampersand: that is no broken entity. A number could be that of an issue
# ("issue #39; see") or a colour (#333;), a name could be a word (a guitar amp; int quot;): what is
# read is a short list, and only where a letter or a second one on the same line gives it away.
_START = r"(^|[^&\w.>;])"
_QUOTED = r"([^\s&](?:[^\n]*?[^\s&])??)[ \t]?"
_BROKEN = (
    (rf"{_START}(?:nbsp;)+", "${1}\u00a0"),
    (r"(^|[^&\w;])amp;([^\s;])", "${1}&${2}"),
    (r"(\pL)(?:#39|#x27);(\pL)", "${1}'${2}"),
    (r"(\pL)#8217;(\pL)", "${1}\u2019${2}"),
    (r"(\pL)[ \t]*(?:#39|#x27);(s|t|re|ve|ll|d|m)\b", "${1}'${2}"),
    (r"(\pL)[ \t]*#8217;(s|t|re|ve|ll|d|m)\b", "${1}\u2019${2}"),
    (rf"{_START}quot;{_QUOTED}quot;", '${1}"${2}"'),
    (rf"{_START}#34;{_QUOTED}#34;", '${1}"${2}"'),
    (rf"{_START}#8220;{_QUOTED}#8221;", "${1}\u201c${2}\u201d"),
    (rf"{_START}#8216;{_QUOTED}#8217;", "${1}\u2018${2}\u2019"),
    (rf"{_START}lt;(/?[A-Za-z!](?:[^\n<]*?[^\s&])??)[ \t]?gt;", "${1}<${2}>"),
)


def broken_entities(texts: pl.Series) -> pl.Series:
    r"""Read entities that lost their `&`: `Bush #39;s`, `AT amp;T`, `quot;yes, quot; he said`.

    What remains: an `amp;` before a space, quotation marks without a partner, numbers but 34, 39
    and 8216 to 8221, names but amp, quot, nbsp, lt and gt.

    >>> texts = ["Bush #39;s quot;plan quot;", "issue #39; see", "a guitar amp; a drum"]
    >>> broken_entities(pl.Series(texts)).to_list()
    ['Bush\'s "plan"', 'issue #39; see', 'a guitar amp; a drum']
    """
    for expression, value in _BROKEN:
        texts = texts.str.replace_all(expression, value)
    return texts

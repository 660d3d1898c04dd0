"""One form of a URL, so that addresses of one page are one text. Whole columns at a time.

What goes is what tells nothing about the page: scheme, user, `www.`, usual port, capitals of the
host, fragment, slashes at the end, the way of percent-encoding, the order of parameters, and
parameters that only say where a reader came from. All other parameters stay: without its query,
`/item?id=7` would be every item of a shop. docs/dedup-by-column.md has what peers do.
"""

from urllib.parse import quote

import polars as pl

from cleanpipe.rules import url_parts

TRACKING_BEGINS = ("utm_", "mtm_", "pk_", "piwik_", "hsa_", "__hs", "_hs", "_ga", "_gl")
"""Campaigns of Google Analytics, Matomo and HubSpot: no page goes by them."""
# fmt: off
TRACKING = (
    "dclid", "gbraid", "gclid", "gclsrc", "srsltid", "wbraid",            # Google
    "fbclid", "igsh", "igshid", "li_fat_id", "ttclid", "twclid",          # social networks
    "epik", "msclkid", "rdt_cid", "sccid", "yclid", "ysclid", "_openstat",
    "mc_cid", "mc_eid", "mkt_tok", "oly_anon_id", "oly_enc_id", "vero_id",  # newsletters
    "aspsessionid", "jsessionid", "phpsessid",                            # a visit, not a page
)
# fmt: on
"""Parameters that name a click, a letter or a visit. Names such as `ref`, `source` or `sid` are not
among them: on some sites they choose the page."""

_UNRESERVED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
_ESCAPES = {
    f"%{a}{b}": chr(code) if chr(code) in _UNRESERVED else f"%{code:02X}"
    for code in range(256)
    for a in {f"{code >> 4:x}", f"{code >> 4:X}"}
    for b in {f"{code & 15:x}", f"{code & 15:X}"}
}
"""RFC 3986, 6.2.2: digits of an escape in capitals, and none for what needs none."""
_BARE = r"[^\x21-\x7e]"
_AS_IS = "".join(map(chr, range(0x21, 0x7F)))


def one_form(urls: pl.Series) -> pl.Series:
    """The one form of each URL. What has no host is as it came, without blanks at its ends.

    >>> one_form(pl.Series(["HTTP://www.Example.org:80/a%2fb/?utm_source=x&b=2&a=1#c", "a b "]))
    ... # doctest: +NORMALIZE_WHITESPACE
    shape: (2,)
    Series: 'url' [str]
    [
        "example.org/a%2Fb?a=1&b=2"
        "a b"
    ]
    """
    pages = url_parts.pages(urls)
    frame = pl.DataFrame(
        {"url": urls.str.strip_chars(), "page": _escaped(pages), "host": url_parts.hosts(urls)}
    )
    parts = pl.col("page").str.splitn("?", 2).struct
    known = frame.with_columns(
        path=parts.field("field_0")
        .str.replace(r"(?i);jsessionid=[^/]*", "")
        .str.replace(r"^(?:www\.)+([^/]*\.)", "$1")
        .str.replace(r"/+$", ""),
        query=parts.field("field_1"),
    )
    with_query = known.with_columns(query=_query(known["query"]))
    whole = pl.concat_str("path", pl.col("query").fill_null(""))
    form = pl.when(pl.col("host").is_not_null()).then(whole).otherwise("url")
    return with_query.select(form.alias("url")).to_series()


def _escaped(pages: pl.Series) -> pl.Series:
    """Escapes in their one way, and what is no ASCII, or a blank, as the escapes it stands for."""
    odd = pages.filter(pages.str.contains(_BARE)).unique()
    if len(odd):
        hosts = odd.str.extract(r"^([^/?]*)", 1).to_list()  # letters of a host stay letters
        plain = [
            host + quote(page[len(host) :], safe=_AS_IS)
            for host, page in zip(hosts, odd.to_list(), strict=True)
        ]
        pages = pages.replace_strict(odd, plain, default=pages, return_dtype=pl.String)
    return pages.str.replace_many(_ESCAPES)


def _query(queries: pl.Series) -> pl.Series:
    """`?` and the parameters that choose the page, by name; null where none is left.

    Parameters of one name stay in their order: `tag=a&tag=b` may be another page than the reverse.
    """
    frame = queries.alias("query").to_frame().with_row_index("url").drop_nulls()
    each = frame.with_columns(pl.col("query").str.split("&")).explode("query")
    each = each.with_columns(name=pl.col("query").str.extract(r"^([^=]*)", 1))
    lower = pl.col("name").str.to_lowercase()
    tracks = lower.is_in(TRACKING)
    for begin in TRACKING_BEGINS:
        tracks |= lower.str.starts_with(begin)
    left = each.filter(~tracks & (pl.col("query") != "")).sort("url", "name", maintain_order=True)
    joined = left.group_by("url", maintain_order=True).agg(pl.col("query").str.join("&"))
    every = pl.DataFrame({"url": pl.arange(len(queries), dtype=pl.UInt32, eager=True)})
    found = every.join(joined, on="url", how="left", maintain_order="left")
    return ("?" + found["query"]).alias("query")

"""What a URL is made of: its host, its page, its words. Whole columns at a time.

Hosts are compared in one form: lower case, without user, port and trailing dots, and in the letters
that an internationalized name stands for, since a list may have `xn--mnchen-3ya.de` and a page
`münchen.de`. What has no host is null, and no rule about hosts applies to it.
"""

import re
import unicodedata
from urllib.parse import unquote

import polars as pl

MOST_CHARS = 253
"""A host name has no more characters (RFC 1035: 255 bytes with lengths); what is longer is none."""

# The Rust engine is linear in the text. Browsers read \ as / in web addresses.
_AUTHORITY = r"^(?:[A-Za-z][A-Za-z0-9+.\-]*:)?[/\\]{2}([^/?#\\]*)"
_HOST_FIRST = r"^([^\s/?#\\@:]+\.[^\s/?#\\@:.]+\.?(?::\d+)?)(?:[/?#\\]|$)"
SCHEME = r"^(?:[A-Za-z][A-Za-z0-9+.\-]*:)?[/\\]{2}"
_PORT = r":(\d*)$"
_USUAL_PORTS = ("", "80", "443")
_ODD = r"[^\x21-\x7e]|%|(?:^|\.)xn--"
_DOTS = re.compile("[\u3002\uff0e\uff61]")
_ADDRESS = r"^(?:\[.*\]|\d{1,3}(?:\.\d{1,3}){3})$"
BREAKS = r"[^\p{L}\p{M}\p{N}]+"


def _authority(urls: pl.Series) -> pl.Series:
    text = pl.col("url").str.strip_chars()
    return (
        urls.alias("url")
        .to_frame()
        .select(
            pl.coalesce(text.str.extract(_AUTHORITY, 1), text.str.extract(_HOST_FIRST, 1))
            .str.replace(r"^.*@", "")
            .alias("authority")
        )
        .to_series()
    )


def hosts(urls: pl.Series) -> pl.Series:
    """The host of each URL, null where there is none. Without a scheme the host must have a dot.

    >>> hosts(pl.Series(["https://me:pw@WWW.Example.org.:8080/x", "a.org/x", "x/y"])).to_list()
    ['www.example.org', 'a.org', None]
    """
    found = _authority(urls).str.replace(_PORT, "").str.to_lowercase().str.strip_chars_end(".")
    odd = found.filter(found.str.contains(_ODD)).unique()
    if len(odd):
        plain = [_plain_host(host) for host in odd]
        found = found.replace_strict(odd, plain, default=found, return_dtype=pl.String)
    is_host = found.str.len_chars().is_between(1, MOST_CHARS) & ~found.str.contains(r"\s")
    return pl.select(pl.when(is_host).then(found)).to_series().alias("host")


def domains(urls: pl.Series) -> pl.Series:
    """The host of each URL without `www.`, null where there is none.

    >>> domains(pl.Series(["https://www.example.org/x", "www.a", None])).to_list()
    ['example.org', 'a', None]
    """
    return hosts(urls).str.replace(r"^www\.(.)", "$1").alias("domain")


def _plain_host(host: str) -> str:
    """A host with letters beyond ASCII, percent signs or Punycode, in the one form of hosts."""
    text = unicodedata.normalize("NFKC", unquote(host)).lower()
    labels = _DOTS.sub(".", text).strip(".").split(".")
    return ".".join(map(_plain_label, labels))


def _plain_label(label: str) -> str:
    if not label.startswith("xn--"):
        return label
    try:
        return unicodedata.normalize("NFC", label[4:].encode("ascii").decode("punycode"))
    except (UnicodeError, ValueError, OverflowError):
        return label


def are_addresses(found: pl.Series) -> pl.Series:
    """Whether hosts are IP addresses: they belong to no domain but themselves."""
    return found.str.contains(_ADDRESS)


def pages(urls: pl.Series) -> pl.Series:
    """Each URL as it names a page: host, port if unusual, path and query; no scheme or fragment.

    >>> pages(pl.Series(["http://Example.org:80?q=1#top", "//example.org/?q=1", "x/y"])).to_list()
    ['example.org/?q=1', 'example.org/?q=1', 'x/y']
    """
    text = urls.str.strip_chars()
    host = hosts(urls)
    port = _authority(urls).str.extract(_PORT, 1).fill_null("")
    rest = text.str.replace(SCHEME, "").str.extract(r"^[^/?#\\]*([^#]*)", 1)
    frame = pl.DataFrame({"text": text, "host": host, "port": port, "rest": rest})
    port_shown = (
        pl.when(pl.col("port").is_in(_USUAL_PORTS)).then(pl.lit("")).otherwise(":" + pl.col("port"))
    )
    path = pl.when(pl.col("rest").str.starts_with("/")).then("rest").otherwise("/" + pl.col("rest"))
    page = pl.col("host") + port_shown + path
    return frame.select(pl.coalesce(page, "text").alias("page")).to_series()


def words(urls: pl.Series) -> pl.Series:
    """A URL's runs of letters and digits in lower case, each between spaces; the scheme is none.

    >>> words(pl.Series(["https://buy-now.Example.org/A_1"])).to_list()
    [' buy now example org a 1 ']
    """
    text = urls.str.strip_chars().str.replace(SCHEME, "").str.to_lowercase()
    return (" " + text.str.replace_all(BREAKS, " ").str.strip_chars() + " ").alias("words")


def run_together(urls: pl.Series) -> pl.Series:
    """A URL's letters and digits in lower case, with nothing between them; the scheme is left out.

    >>> run_together(pl.Series(["https://buy-now.Example.org/A_1"])).to_list()
    ['buynowexampleorga1']
    """
    return words(urls).str.replace_all(" ", "").alias("letters")

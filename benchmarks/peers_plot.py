"""Draw what dedup_peers.py measured: bars of seconds, missed pairs and false removals.

python benchmarks/peers_plot.py ROWS.json docs/dedup-peers.svg
"""

import json
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

COLUMNS = {"seconds": "seconds", "missed": "pairs missed", "false": "false removals"}
NAMES, WIDTH, GAP, LINE, TOP = 100, 170, 70, 22, 58
STYLE = (
    "text{font:13px sans-serif;fill:#222}.bar{fill:#9aa5b1}.ours{fill:#2563eb}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}.bar{fill:#64748b}.ours{fill:#60a5fa}}"
)
Row = dict[str, Any]


def picture(rows: Sequence[Row]) -> str:
    """The whole picture: a block a corpus, a line a program, a column a number."""
    blocks, top = [], 0
    for corpus, of_corpus in groupby(rows, key=lambda row: row["corpus"]):
        known = list(of_corpus)
        blocks.append(f'<g transform="translate(0 {top})">{"".join(_block(corpus, known))}</g>')
        top += TOP + LINE * len(known) + LINE
    width = NAMES + len(COLUMNS) * (WIDTH + GAP)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}" role="img" '
        f'aria-label="Seconds, missed pairs and false removals of deduplication programs">'
        f"<style>{STYLE}</style>{''.join(blocks)}</svg>\n"
    )


def _block(corpus: str, rows: Sequence[Row]) -> Iterator[str]:
    yield _text(0, 20, corpus, "font-weight:bold")
    for place, (name, title) in enumerate(COLUMNS.items()):
        left = NAMES + place * (WIDTH + GAP)
        most = max(row[name] for row in rows) or 1
        yield _text(left, 44, title)
        for number, row in enumerate(rows):
            top = TOP + number * LINE
            size = WIDTH * row[name] / most
            kind = "ours" if row["program"] == "cleanpipe" else "bar"
            place_of = f'x="{left}" y="{top}" width="{size:.1f}" height="{LINE - 6}"'
            yield f'<rect class="{kind}" {place_of}/>'
            value = f"{row[name]:,.1f}" if name == "seconds" else f"{row[name]:,}"
            yield _text(left + size + 6, top + 13, value)
    for number, row in enumerate(rows):
        yield _text(0, TOP + number * LINE + 13, row["program"])


def _text(x: float, y: float, text: str, style: str = "") -> str:
    return f"""<text x="{x:.1f}" y="{y}" style="{style}">{text}</text>"""


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    target.write_text(picture(json.loads(source.read_text("utf-8"))), encoding="utf-8")

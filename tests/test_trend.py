"""The report's lines over runs: shares as they were, oldest first, each on a scale of its own."""

import math

from cleanpipe.report import trend


def stats(read, kept, words):
    sizes = {"documents": kept, "bytes": 10 * kept, "chars": kept}
    return {
        "documents": {"read": read, "kept": kept},
        "raw": {**sizes, "bytes": 10 * read},
        "clean": sizes,
        "stages": [{"stage": "filter", "rule": "words", "documents": words}],
    }


def line(run, known):
    return {
        "run": run,
        "lost": trend.lost(known),
        **{name: known[name] for name in ("documents", "raw", "clean")},
    }


def test_lines_run_from_the_oldest_run_to_this_one():
    """Shares of each run; the least is at the bottom, the most at the top."""
    before = [line("0002", stats(100, 80, 20)), line("0001", stats(200, 100, 100))]
    kept, text, words = trend.sparklines("0003", stats(10, 9, 1), before)
    assert [one["name"] for one in (kept, text, words)] == [
        *("documents kept", "text kept", "filter words"),
    ]
    assert (kept["first"], kept["before"], kept["last"]) == (0.5, 0.8, 0.9)
    assert (words["least"], words["most"]) == (0.1, 0.5)
    points = [tuple(map(float, point.split(","))) for point in kept["points"].split()]
    assert [x for x, _ in points] == [0.0, trend.WIDTH / 2, trend.WIDTH]
    assert (points[0][1], points[2][1]) == (trend.HEIGHT, 0.0)
    assert math.isclose(points[1][1], trend.HEIGHT * (1 - 0.75), abs_tol=0.05)


def test_without_a_run_before_there_is_no_line():
    """Nor lines of rules where an older run did not count them; a line that is level is drawn."""
    assert trend.sparklines("0001", stats(10, 9, 1), []) == []
    old = {key: value for key, value in line("0001", stats(10, 9, 1)).items() if key != "lost"}
    (kept,) = trend.sparklines("0002", stats(10, 9, 1), [old])
    assert kept["points"] == f"0.0,{trend.HEIGHT:.1f} {trend.WIDTH:.1f},{trend.HEIGHT:.1f}"

"""Rows that are no numbers, and tables whose columns nobody knows: what is said of them."""

import json

import pytest

from cleanpipe.errors import InputError
from cleanpipe.stability.logs.logs import read

ROWS = 60


def table(path, row, header="step,loss", rows=ROWS):
    lines = [header, *(row(n) for n in range(rows))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def told(log):
    return {note.kind: note.text for note in log.notes}


@pytest.mark.parametrize(
    ("row", "left", "gaps", "first"),
    [
        (lambda n: f"{n},{n % 3 and 2}", 0, 0, None),
        (lambda n: f"{n},{'abc' if n % 3 == 0 else 2}", 20, 0, "line 2: loss 'abc' is no number"),
        (lambda n: f"{n * 10**18},1", 50, 0, "line 12: step '10000000000000000000' is too large"),
        (lambda n: f"{n + n % 2 / 2},1", 30, 0, "line 3: step '1.5' is no whole number"),
        (lambda n: f"{n if n != 7 else ''},1", 1, 1, "line 9: no step"),
        (lambda n: f"{n},1" if n != 7 else "step,loss", 1, 1, "line 9: step 'step' is no number"),
    ],
)
def test_rows_that_are_left_out_are_counted(row, left, gaps, first, tmp_path):
    """How many, and where the first stands; steps that lost their value are not missing rows."""
    [log] = read(table(tmp_path / "a.csv", row))
    assert log.steps.height == ROWS - left
    notes = told(log)
    assert ("missing_steps" in notes) == bool(gaps)
    assert ("left_out" in notes) == bool(left)
    if left:
        assert notes["left_out"].startswith(f"{left} row")
        assert first in notes["left_out"]


def test_numbers_may_be_written_in_other_ways(tmp_path):
    """12.0 and 1e1 are steps, spaces and thousands are none; an empty value was not logged."""
    row = ["0.0, 3.5", "1e1,None", '20,"1,024.5"', "30 ,", "40,NaN"]
    [log] = read(table(tmp_path / "a.csv", lambda n: row[n], rows=5))
    assert log.steps["step"].to_list() == [0, 20, 40]
    assert log.steps["loss"].to_list()[:2] == [3.5, 1024.5]
    assert "left_out" not in told(log)


def test_other_ends_of_lines_and_another_encoding(tmp_path):
    """Carriage returns alone end lines, too; UTF-16 is refused by its name."""
    path = tmp_path / "a.csv"
    path.write_bytes(b"step,loss\r1,2.5\r2,2.25\r")
    [log] = read(path)
    assert log.steps["loss"].to_list() == [2.5, 2.25]
    path.write_text("step,loss\n1,2.5\n", encoding="utf-16")
    with pytest.raises(InputError, match="UTF-16"):
        read(path)


def test_a_row_with_another_value_stays(tmp_path):
    """A loss that is no number is told, the gradient norm beside it counts."""
    path = tmp_path / "a.jsonl"
    rows = [{"step": n, "loss": "abc" if n == 3 else 2.5, "grad_norm": 1.5} for n in range(ROWS)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    [log] = read(path)
    assert log.steps["loss"].null_count() == 1
    assert log.steps["grad_norm"].null_count() == 0
    assert "1 row has a value that is no number" in told(log)["no_number"]
    assert "line 4: loss 'abc'" in told(log)["no_number"]


def test_lines_of_a_step_without_its_number_are_counted(tmp_path):
    """Steps beyond 64 bits, and steps without a loss, in lines of text."""
    line = "s:{} trl:{} lr:0.1 norm:{}\n"
    text = "".join(line.format(n, 2.5, 1) for n in range(ROWS))
    path = tmp_path / "main.log"
    path.write_text(text + line.format(60, "?", "?") + line.format("9" * 20, 2.5, 1))
    [log] = read(path)
    assert log.steps.height == ROWS
    assert told(log)["left_out"].startswith("2 rows have")
    assert "line 61: 's:60 trl:?" in told(log)["left_out"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("step,loss\n0.5,2\n1.5,3\n", "a.txt: no row .* 2 rows .* step '0.5' is no whole number"),
        ("step,loss\n1,abc\n2,abc\n", "a.txt: no row .* 2 rows .* loss 'abc' is no number"),
        ("loss\n2.5\n2.25\n", "a.txt: a table without a step; columns: loss; .*--column step"),
        ("a,b\n1,2\n", "a.txt: .* a step and a loss or gradient norm; columns: a, b; .*--column"),
        (f"{','.join(f'c{n}' for n in range(99))}\n{'1,' * 98}1\n", "c18, c19 and 79 more; name"),
        ('{"a": {"b": 1}, "_step": 2}\n', "a.txt: JSON lines without a loss .*: a.b, _step; name"),
        ('{"step": 1, "loss": [2.5]}\n', r"a.txt: no row .* line 1: loss '\[2.5\]' is no number"),
        ('[{"step": 1, "loss": 2.5}]\n', "a.txt: one list of JSON; expected an object a line"),
        ("step,loss\n\n1,abc\n", "a.txt: no row .* at line 3: loss 'abc'"),
        ("import os, json\na = 1, 2\n", "a.txt: no log is recognized"),
    ],
)
def test_a_refusal_names_the_file_and_what_it_has(text, said, tmp_path):
    """Columns of a table, the first value that is none: what to name, or to mend."""
    path = tmp_path / "a.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=said):
        read(path)


def test_objects_within_objects_are_read(tmp_path):
    """By their own names or by the user's; a loss elsewhere in the line is another one."""
    path = tmp_path / "a.jsonl"
    row = '{{"_step": {n}, "eval": {{"loss": 9}}, "train": {{"loss": {loss}, "grad_norm": 1}}}}\n'
    path.write_text("".join(row.format(n=n, loss="NaN" if n == 2 else n / 2) for n in range(4)))
    [log] = read(path)
    assert log.steps["loss"].to_list()[:2] == [0, 0.5]
    assert log.steps["loss"].is_nan().to_list() == [False, False, True, False]
    assert log.steps["grad_norm"].to_list() == [1.0] * 4
    for name in ("eval.loss", "eval/loss"):
        [log] = read(path, {"loss": name})
        assert log.steps["loss"].to_list() == [9.0] * 4


def test_notes_of_few_rows_of_nan_and_of_two_names(tmp_path):
    """Two rows tell nothing; NaN throughout is not "the same value"; the first column counts."""
    [log] = read(table(tmp_path / "a.csv", lambda n: f"{n},nan"))
    assert {"not_finite", "no_grad_norm"} == set(told(log))
    [log] = read(table(tmp_path / "b.csv", lambda n: f"{n},{n}", rows=2))
    assert "few_rows" in told(log)
    [log] = read(table(tmp_path / "c.csv", lambda n: f"{n},1.5,{n}", "step,loss,loss"))
    assert set(log.steps["loss"]) == {1.5}
    assert "named loss: the first is read" in told(log)["same_name"]

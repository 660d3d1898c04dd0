"""Classifiers in ONNX form: every form of output, and what is refused."""

import sys

import pyarrow as pa
import pytest
from onnx_file import INT64, write_onnx

from cleanpipe.errors import RecipeError
from cleanpipe.kernels.buffers import text_buffers
from cleanpipe.measures.classifier import Classifier
from cleanpipe.measures.measuring import Measure

TEXTS = pa.array(["a good text", "spam", "", "x" * 100 + " good"] * 50, pa.large_string())
PATTERN = "(?s).*good.*"


@pytest.fixture(autouse=True)
def runtime():
    """The extra `onnx`."""
    return pytest.importorskip("onnxruntime")


@pytest.mark.parametrize("form", ["tensor", "maps", "one"])
def test_an_onnx_model_is_a_measure(tmp_path, form):
    """The good label's probability, in whatever form the model gives it, batch after batch."""
    path = str(write_onnx(tmp_path / "model.onnx", PATTERN, form))
    assert Classifier(path=path).scores(*text_buffers(TEXTS)).to_list() == [1, 0, 0, 1] * 50
    label = {"tensor": "0", "maps": "bad", "one": None}[form]
    if label:
        scores = Classifier(path=path, label=label).scores(*text_buffers(TEXTS))
        assert scores.to_list() == [0, 1, 1, 0] * 50


def test_newlines_stay_and_long_texts_are_sampled(tmp_path):
    """The text arrives as it is; of a long one head, middle and tail."""
    path = str(write_onnx(tmp_path / "model.onnx", "a\\nb"))
    texts = pa.array(["a\nb", "a b"], pa.large_string())
    assert Classifier(path=path).scores(*text_buffers(texts)).to_list() == [1, 0]
    texts = pa.array(["x" * 50 + "good" + "x" * 300], pa.large_string())
    path = str(write_onnx(tmp_path / "other.onnx", PATTERN))
    assert Classifier(path=path, most_bytes=30).scores(*text_buffers(texts)).to_list() == [0]


@pytest.mark.parametrize(
    ("label", "says"), [("ugly", "no label 'ugly': name one of bad, good"), (None, None)]
)
def test_labels_are_those_of_the_maps(tmp_path, label, says):
    """What is not there is told with what is."""
    path = str(write_onnx(tmp_path / "model.onnx", PATTERN, "maps"))
    if says is None:
        assert Classifier(path=path, label=label).chosen() == "good"
    else:
        with pytest.raises(RecipeError, match=says):
            Classifier(path=path, label=label).chosen()


def test_what_is_no_model_of_texts_is_refused_by_name(tmp_path):
    """Junk, a missing file, a model that takes numbers, a missing runtime."""
    junk = tmp_path / "junk.onnx"
    junk.write_bytes(b"no model at all")
    numbers = write_onnx(tmp_path / "numbers.onnx", PATTERN, of=INT64)
    for path, says in (
        (junk, "junk.onnx: ONNX Runtime cannot load it"),
        (tmp_path / "nowhere.onnx", "nowhere.onnx: ONNX Runtime cannot load it"),
        (numbers, r"numbers.onnx takes text: tensor\(int64\)"),
    ):
        with pytest.raises(RecipeError, match=says):
            Classifier(path=str(path)).scores(*text_buffers(TEXTS))


def test_without_the_extra_the_next_move_is_told(tmp_path, monkeypatch):
    """The recipe's model is named."""
    path = write_onnx(tmp_path / "unseen.onnx", PATTERN)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(RecipeError, match=r"unseen.onnx: .*pip install 'cleanpipe\[onnx\]'"):
        Classifier(path=str(path)).chosen()


def test_the_runtime_is_part_of_the_run(tmp_path):
    """Another version may give other probabilities; who uses none need not have it."""
    path = write_onnx(tmp_path / "model.onnx", PATTERN)
    assert Measure(models={"quality": {"path": str(path)}}).packages() == ("onnxruntime",)
    assert Measure().packages() == ()

"""What the browser inflates is what was packed."""

import json

import numpy as np
import pytest
from scipy import sparse

from explorer_corpus import inflated
from sae_kedro.explorer.packing import as_json, packed_arrays, packed_codes, packed_json, packed_rows


def test_arrays_lie_one_behind_the_other_at_multiples_of_four():
    text, told = packed_arrays({"a": np.array([1, 2, 3], np.uint8), "b": np.array([1.5], np.float32)})
    assert told == [["a", "uint8", 3], ["b", "float32", 1]]
    assert inflated(text) == b"\1\2\3\0" + np.float32(1.5).tobytes()


def test_bytes_are_the_same_every_time():
    assert packed_json({"a": 1}) == packed_json({"a": 1})


def test_codes_are_gaps_and_255ths():
    codes = sparse.csr_array(np.array([[0, 2.0, 0, 1.0], [0, 0, 0, 0], [4.0, 0, 0, 0.001]], np.float32))
    packed = packed_codes(codes, np.array([4.0, 2.0, 0.0, 2.0]))
    assert packed["counts"].tolist() == [2, 0, 2]
    assert packed["low"].tolist() == [1, 2, 0, 3] and not packed["high"].any()
    assert packed["values"].tolist() == [255, 128, 255, 1]  # what fires is never 0


def test_gaps_of_wide_dictionaries_have_a_high_part():
    codes = sparse.csr_array(([1.0, 1.0], ([0, 0], [3, 200_003])), shape=(1, 300_000))
    packed = packed_codes(codes, np.ones(300_000))
    assert (packed["low"] + 256 * packed["high"].astype(int)).tolist() == [3, 200_000]


def test_rows_in_8_bits():
    rounded, steps = packed_rows(np.array([[1.0, -0.5], [0.0, 0.0]]))
    assert rounded.tolist() == [[127, -64], [0, 0]]
    assert steps[0] == pytest.approx(1 / 127)


@pytest.mark.parametrize("text", ["</script>", "<!--", "a & b", "\u2028", "\ud800", 'a "quote"', "\0"])
def test_json_in_a_script_ends_nothing_around_it(text):
    written = as_json({text: [text]})
    assert not set("<>&\u2028") & set(written)
    assert written.isascii()
    assert json.loads(written) == {text: [text]}


def test_a_lone_surrogate_is_a_question_mark():
    assert json.loads(inflated(packed_json(["a\ud800b"]))) == ["a?b"]

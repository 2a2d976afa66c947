"""What a run leaves in its log."""

from __future__ import annotations

import logging
import warnings

import pytest

from running import run_command
from sae_kedro import InputError
from sae_kedro.run_log import FILE, RunLog


def lines(folder):
    dated = (line for line in (folder / FILE).read_text().splitlines() if line.startswith("20"))
    return [line.split(maxsplit=2)[2] for line in dated]


def test_a_log_begins_before_its_place_is_known_and_has_warnings_but_no_colours(tmp_path):
    with RunLog({"pipeline_names": ["train"], "tags": None}) as log:
        logging.getLogger("any").warning("early")
        log.write_to(tmp_path / "new", anew=True)
        logging.getLogger("any").error("\x1b[31mred\x1b[0m")
        warnings.warn("of Python", stacklevel=1)
    logging.getLogger("any").warning("late")
    first, early, red, own = lines(tmp_path / "new")
    assert first.startswith("INFO    sae_kedro ") and first.endswith(", pipeline_names=['train']")
    assert (early, red) == ("WARNING early", "ERROR   red") and own.endswith("UserWarning: of Python")
    assert "late" not in (tmp_path / "new" / FILE).read_text()


def test_an_error_ends_a_log_with_a_sentence_or_with_where_it_came_from(tmp_path):
    for error in (InputError("no such key"), KeyError("x")):
        with pytest.raises(type(error)), RunLog({}) as log:
            log.write_to(tmp_path, anew=True)
            raise error
        text = (tmp_path / FILE).read_text()
        assert ("Traceback" in text) == isinstance(error, KeyError)
    assert "ERROR   'x'" in text


def test_a_refused_run_leaves_no_log_and_no_handler(tmp_path):
    before = list(logging.getLogger().handlers)
    with pytest.raises(InputError), RunLog({}):
        raise InputError("refused")
    (tmp_path / FILE).mkdir()
    with pytest.raises(InputError, match=r"run\.log cannot be written: Is a directory"), RunLog({}) as log:
        log.write_to(tmp_path, anew=False)
    assert logging.getLogger().handlers == before


def test_training_begins_a_log_anew_and_evaluation_adds_to_it(corpus_file, tmp_path):
    given = {"data_root": tmp_path, "dataset_path": corpus_file, "n_epochs": 1, "dict_size": 64}
    folder = tmp_path / "08_reporting" / "topk"
    counts = []
    for pipeline in ("encode", "train", "train", "evaluate"):
        assert run_command("--env=test", f"--pipelines={pipeline}", **given).exit_code == 0
        counts.append(sum("sae_kedro " in line for line in lines(folder)) if folder.exists() else 0)
    assert counts == [0, 1, 1, 2]
    assert any("train_sae" in line for line in lines(folder)) and lines(folder)[-1].endswith("write_report")
    failed = run_command("--env=test", "--pipelines=train", **given, lr=1e30)
    assert failed.exit_code == 1
    assert failed.output.removeprefix("Error: ").strip() == lines(folder)[-1].removeprefix("ERROR   ")

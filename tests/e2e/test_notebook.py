"""The tour runs from the first to the last cell and shows what its text says."""

from __future__ import annotations

import re

import nbformat
import pytest
from nbclient import NotebookClient

from conftest import ROOT
from running import files_in

PLOT = "application/vnd.plotly.v1+json"
TOUR = ROOT / "notebooks" / "tour.ipynb"


@pytest.fixture(scope="module")
def tour():
    notebook = nbformat.read(TOUR, as_version=4)
    nbformat.validate(notebook)
    return notebook


def test_tour_is_stored_without_outputs(tour):
    for cell in tour.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


def _shown(cell) -> str:
    """What a cell prints and returns, without progress bars."""
    texts = [
        output.get("text") or output["data"]["text/plain"]
        for output in cell.outputs
        if output.get("name") == "stdout" or output.output_type == "execute_result"
    ]
    return "".join(texts)


def test_tour_runs(tour, tmp_path):
    place = tmp_path / "notebooks"
    place.mkdir()
    done = NotebookClient(tour, timeout=300, resources={"metadata": {"path": str(place)}}).execute()
    shown = [_shown(cell) for cell in done.cells if cell.cell_type == "code"]
    cfg, batch, variants, metrics, saved, labels, _, latents, close, apart, edit = shown
    assert "'act_size': 384" in cfg
    assert batch == "torch.Size([128, 384])"
    assert variants.split()[:4] == ["vanilla", "topk", "batchtopk", "jumprelu"]
    assert "'l0': 8.0" in metrics
    assert saved == "('TopKSAE', ['cfg.json', 'sae_weights.safetensors'])"
    assert "label_auroc" in labels and latents.count(" of 2000 texts\n") == 4
    cosine, whole = re.findall(r"\d\.\d{4}", close)
    assert cosine == whole
    assert "'" in apart and "times as often" in apart and apart.count("q < .0") >= 3
    pictures = [output for cell in done.cells for output in cell.get("outputs", ()) if PLOT in output.get("data", {})]
    assert len(pictures) == 3
    before, after = edit.removeprefix("before").split("\nafter")
    assert before.strip() != after.strip()  # the nearest texts change with the meaning
    assert {file.split("/")[0] for file in files_in(tmp_path)} == {"data"}

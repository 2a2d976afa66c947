from __future__ import annotations

import pandas as pd
import pytest
import torch

from sae_kedro.evaluation import plots
from sae_kedro.evaluation.figures import figures
from sae_kedro.evaluation.metrics import Evaluation


@pytest.fixture
def evaluation():
    counts = torch.zeros(11, dtype=torch.long)
    counts[2], counts[4] = 30, 10
    density = torch.tensor([0.0, 0.5, 0.01, 1e-9], dtype=torch.double)
    return Evaluation({"sae_type": "topk", "l0": 2.5, "fvu": 0.25, "n_texts": 4000}, counts, density, {1: 0.8, 2: 0.5})


def test_l0_histogram_counts_texts_in_the_range_used(evaluation):
    bars = figures()["l0_histogram"](evaluation).data[0]
    assert list(bars.x) == [2, 3, 4] and list(bars.y) == [30, 0, 10]


def test_l0_that_all_texts_share_is_one_number(evaluation):
    evaluation.l0_counts[2] = 0
    (number,) = figures()["l0_histogram"](evaluation).data
    assert (number.type, number.value) == ("indicator", 4)


def test_density_histogram_gives_silent_latents_a_bar_of_their_own(evaluation):
    # densities 0, 1e-9, 0.01 and 0.5 in bars of a tenth of a decade: [-9, -8.9], [-2, -1.9], [-0.4, -0.3]
    bars = figures()["density_histogram"](evaluation).data[0]
    assert list(bars.x) == pytest.approx([-9.5, -8.95, -1.95, -0.35]) and list(bars.y) == [1, 1, 1, 1]


@pytest.mark.parametrize(("density", "x", "y"), [(0.0, [-0.5], [4]), (1.0, [-0.5, 0.05], [0, 4])])
def test_density_histogram_of_latents_that_are_all_alike(evaluation, density, x, y):
    evaluation.density.fill_(density)
    bars = figures()["density_histogram"](evaluation).data[0]
    assert list(bars.x) == pytest.approx(x) and list(bars.y) == y


def test_fvu_by_k_plots_the_curve(evaluation):
    line = figures()["fvu_by_k"](evaluation).data[0]
    assert list(line.x) == [1, 2] and list(line.y) == [0.8, 0.5]


def test_training_curves_plot_every_row():
    history = [{"step": s, "loss": 1 / s, "fvu": 1 / s, "l0": 32.0, "dead": 0} for s in (20, 40)]
    figure = plots.training_curves(history)
    assert len(figure.data) == 4 and list(figure.data[1].y) == [1 / 20, 1 / 40]


def test_pareto_has_one_line_per_variant_and_larger_markers_for_dead_latents():
    columns = {"sae_type": list("aabb"), "top_k": [8, 4, 4, 8], "l0": [8.0, 4.0, 5.0, 9.0]}
    table = pd.DataFrame(columns | {"fvu": [0.2, 0.4, 0.3, 0.1], "dead_fraction": [0.5, 0.0, 0.0, 0.0]})
    figure = plots.pareto(table)
    assert [line.name for line in figure.data] == ["a", "b"] and figure.layout.showlegend
    first, second = figure.data
    assert list(first.x) == [4.0, 8.0] and list(first.y) == [0.4, 0.2] and list(second.y) == [0.3, 0.1]
    assert first.marker.size[1] > first.marker.size[0] == second.marker.size[0]
    assert first.text[1] == "k 8, 50.0% dead" and first.marker.color != second.marker.color

from __future__ import annotations

import re

import plotly.graph_objects as go
import pytest

from sae_kedro.evaluation.meanings import SPLITS, meanings
from sae_kedro.evaluation.report import report_html, report_markdown, table
from sae_kedro.evaluation.style import styled

METRICS = {
    "sae_type": "topk",
    "dict_size": 3072,
    "top_k": 32,
    "fvu": 0.25,
    "fvu_ci95": [0.24, 0.26],
    "fvu_pca": None,
    "fvu_random_dictionary": 1.25,
    "l0": 32.0,
    "l0_ci95": [32.0, 32.0],
    "dead_fraction": 0.00032552,
    "n_texts": 4000,
    "split": "another corpus",
    "dataset_path": "<b>.jsonl",
    "probe_original": 0.9,
    "probe_codes": 0.8,
    "probe_codes_ci95": [0.75, 0.8512],
    "probe_majority": 0.5,
    "neighbours_kept_codes": 0.5,
    "mine": 7,
    "mine_too_codes": 0.125,
}


def text_of(page: str) -> str:
    """What a reader sees, in one line."""
    return " ".join(re.sub(r"<[^>]+>", " ", re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.DOTALL)).split())


def test_markdown_has_one_row_per_measure_and_intervals_behind_values():
    lines = report_markdown(METRICS).splitlines()
    assert lines[0] == "# topk"
    assert "| measure | original | reconstruction | codes | meaning |" in lines
    rows = {line.split(" | ")[0]: line.split(" | ")[1:] for line in lines}
    assert rows["| probe"][:3] == ["90.00 %", "–", "80.00 % [75.00, 85.12]"]
    assert rows["| probe"][3].endswith("scored on held-out ones. Higher is better. |")
    assert rows["| neighbours_kept"][:3] == ["–", "–", "50.00 %"]
    assert rows["| fvu"][0] == "0.2500 [0.2400, 0.2600]" and rows["| fvu"][1].endswith("Lower is better. |")
    assert rows["| fvu_pca"][0] == "–" and rows["| n_texts"][0] == "4,000" and rows["| l0"][0] == "32 [32, 32]"
    assert not any("_ci95" in line for line in lines)


def test_markdown_without_representations_is_one_table():
    assert report_markdown({"sae_type": "topk", "fvu": 0.5}).count("\n|---") == 1


def test_a_metric_without_a_meaning_is_shown_without_explanation():
    groups = table(METRICS)
    assert [row.name for row in groups["Others"]] == ["mine", "mine_too"]
    assert "| mine | 7 |  |" in report_markdown(METRICS).splitlines()
    assert "Others mine 7 mine_too_* 0.1250 codes" in text_of(report_html(METRICS, []))


def test_nothing_of_the_metrics_is_left_out():
    shown = [value for group in table(METRICS).values() for row in group for value in row.values]
    assert {value.key for value in shown} == {key for key in METRICS if not key.endswith("_ci95")}


def test_marks_to_beat_have_meanings_and_no_key_has_two():
    keys = [key for group in meanings().values() for key in group]
    assert len(keys) == len(set(keys))
    assert {mark for group in meanings().values() for meaning in group.values() for mark in meaning.beside} <= set(keys)


def test_page_begins_with_what_it_is_and_the_scorecard():
    page = text_of(report_html(METRICS, []))
    assert page.startswith("topk topk: 3,072 latents, k 32 A sparse autoencoder for embeddings.")
    assert f"Measured on 4,000 {SPLITS['another corpus']} of &lt;b&gt;.jsonl" in page
    scorecard = page[: page.index("All metrics")]
    assert "This SAE" not in scorecard and "this SAE 0.250 0.240 to 0.260 Random dictionary 1.25" in scorecard
    assert "PCA" not in scorecard  # it was not measured
    assert "Active latents (L0) 32 always the same" in scorecard and "Dead latents 0.0326 %" in scorecard
    assert "On tasks Labels predicted" in scorecard
    assert "embeddings 90.0 % codes 80.0 % 75.0 to 85.1 Most frequent label 50.0 %" in scorecard


def test_bars_and_their_intervals_are_as_long_as_their_numbers():
    widths = re.findall(r'<i(?: class="own")? style="width:([\d.]+)%"', report_html(METRICS, []))
    # FVU goes to 1.25 here, probes and their majority to 1; a card with one number has no bar
    assert [float(width) for width in widths] == pytest.approx([20, 100, 90, 80, 50])
    below = {"sae_type": "topk", "sts_original": 0.5, "sts_codes": -0.1, "sts_codes_ci95": [-0.3, 0.25]}
    codes = report_html(below, []).split("<span>codes</span>")[1]
    assert '<i class="own" style="width:0%"></i>\n<s style="left:0%;width:25.0%"></s>' in codes


def test_a_page_is_the_same_every_time_and_has_a_place_for_each_figure():
    figures = [go.Figure(), styled(go.Figure(go.Bar(x=[1], y=[2])), "One </script> bar")]
    page = report_html(METRICS, figures)
    assert page == report_html(METRICS, figures)
    assert page.count('<div id="figure-') == 1 and '<div id="figure-0" style="height:300px"></div>' in page
    assert "<figcaption>One &lt;/script&gt; bar</figcaption>" in page
    assert page.count("<script>") == page.count("</script>") == 2
    assert "Plotly" not in report_html(METRICS, [go.Figure()])
    assert figures[1].layout.title.text  # and the figure is as it was

from __future__ import annotations

from sae_kedro.evaluation.report import report_markdown

METRICS = {
    "sae_type": "topk",
    "fvu": 0.25,
    "fvu_ci95": [0.24, 0.26],
    "fvu_pca": None,
    "n_texts": 4000,
    "probe_original": 0.9,
    "probe_codes": 0.8,
    "probe_codes_ci95": [0.75, 0.8512],
    "neighbours_kept_codes": 0.5,
}


def test_markdown_has_one_row_per_measure_and_intervals_behind_values():
    lines = report_markdown(METRICS).splitlines()
    assert lines[0] == "# topk"
    assert "| measure | original | reconstruction | codes |" in lines
    assert "| probe | 0.9 | – | 0.8 [0.75, 0.8512] |" in lines
    assert "| neighbours_kept | – | – | 0.5 |" in lines
    assert "| fvu | 0.25 [0.24, 0.26] |" in lines and "| fvu_pca | – |" in lines and "| n_texts | 4,000 |" in lines
    assert not any("_ci95" in line for line in lines)


def test_markdown_without_representations_is_one_table():
    assert report_markdown({"sae_type": "topk", "fvu": 0.5}).count("|---|") == 1

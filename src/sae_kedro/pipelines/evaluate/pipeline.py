"""cfg, sae, activations_store -> metrics, latents, figures, reports."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from sae_kedro.evaluation.figures import figure_names
from sae_kedro.pipelines.evaluate import nodes


def create_pipeline(*drawn: str) -> Pipeline:
    """Evaluate an SAE on the held-out texts of a corpus.

    Args:
        drawn: Datasets of figures that another part of the run makes; they come first in the report.
    """
    figures = [f"figure_{name}" for name in figure_names()]
    evaluation = [Node(nodes.evaluate_sae, ["cfg", "sae", "activations_store"], "evaluation", name="evaluate_sae")]
    report = [
        Node(nodes.run_downstream, ["cfg", "sae", "activations_store"], "downstream", name="run_downstream"),
        Node(
            nodes.report_metrics,
            ["cfg", "sae", "evaluation", "downstream"],
            ["metrics", "latents"],
            name="report_metrics",
        ),
        Node(nodes.plot_evaluation, "evaluation", figures, name="plot_evaluation"),
        Node(nodes.write_report, ["metrics", *drawn, *figures], ["report", "report_markdown"], name="write_report"),
    ]
    folded = Pipeline(report, namespace="report", prefix_datasets_with_namespace=False)
    return Pipeline([*evaluation, folded], tags="evaluate")

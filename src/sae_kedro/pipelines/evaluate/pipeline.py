"""cfg, sae, activations_store -> metrics, latents, figures, reports."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from sae_kedro.pipelines.evaluate import nodes

FIGURES = ["density_histogram", "l0_histogram", "fvu_by_k"]


def create_pipeline() -> Pipeline:
    """Evaluate an SAE on the held-out texts of a corpus."""
    return Pipeline(
        [
            Node(nodes.evaluate_sae, ["cfg", "sae", "activations_store"], "evaluation", name="evaluate_sae"),
            Node(nodes.run_downstream, ["cfg", "sae", "activations_store"], "downstream", name="run_downstream"),
            Node(
                nodes.report_metrics,
                ["cfg", "sae", "evaluation", "downstream"],
                ["metrics", "latents"],
                name="report_metrics",
            ),
            Node(nodes.plot_evaluation, "evaluation", FIGURES, name="plot_evaluation"),
            Node(nodes.write_report, ["metrics", *FIGURES], ["report", "report_markdown"], name="write_report"),
        ]
    )

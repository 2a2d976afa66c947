"""cfg, sae, activations_store -> metrics, latents, figures, reports."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from sae_kedro.evaluation.figures import figure_names
from sae_kedro.pipelines.evaluate import nodes


def create_pipeline(after_training: bool = False) -> Pipeline:
    """Evaluate an SAE on the held-out texts of a corpus.

    Args:
        after_training: Whether the run that trains it goes on with this. Its report has training curves; that of
            another run is written beside it, into a folder of its own.
    """
    place, curves = ("", ["figure_training_curves"]) if after_training else ("evaluated_", [])
    metrics, latents = f"{place}metrics", f"{place}latents"
    reports = [f"{place}report", f"{place}report_markdown"]
    figures = [f"{place}figure_{name}" for name in figure_names()]
    evaluation = [Node(nodes.evaluate_sae, ["cfg", "sae", "activations_store"], "evaluation", name="evaluate_sae")]
    report = [
        Node(nodes.run_downstream, ["cfg", "sae", "activations_store"], "downstream", name="run_downstream"),
        Node(
            nodes.report_metrics,
            ["cfg", "sae", "evaluation", "downstream"],
            [metrics, latents],
            name="report_metrics",
        ),
        Node(nodes.plot_evaluation, "evaluation", figures, name="plot_evaluation"),
        Node(nodes.write_report, [metrics, *curves, *figures], reports, name="write_report"),
    ]
    folded = Pipeline(report, namespace="report", prefix_datasets_with_namespace=False)
    return Pipeline([*evaluation, folded], tags="evaluate")

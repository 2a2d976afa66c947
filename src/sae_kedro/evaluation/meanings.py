"""What each metric is called and means, in plain words: for the report, its table and the documentation."""

from __future__ import annotations

from typing import Literal, NamedTuple

from sae_kedro.discovery import submodules
from sae_kedro.evaluation import measures


class Meaning(NamedTuple):
    """What a metric says, to those who do not know its key."""

    title: str
    sentence: str
    better: Literal["lower", "higher"] | None = None
    unit: Literal["", "%", "s"] = ""
    """`%` shows a share times 100."""
    headline: bool = False
    """Whether it stands on the scorecard that a report starts with."""
    beside: tuple[str, ...] = ()
    """Metrics that it is shown beside, as marks to beat."""

    @property
    def explained(self) -> str:
        """The sentence, and which way is better."""
        return f"{self.sentence} {self.better.capitalize()} is better." if self.better else self.sentence


EVALUATION = {
    "Reconstruction": {
        "fvu": Meaning(
            "Variance lost (FVU)",
            "Share of the embeddings' variance that their reconstructions miss: 0 is perfect, 1 is no better than the "
            "mean.",
            headline=True,
            better="lower",
            beside=("fvu_pca", "fvu_random_dictionary"),
        ),
        "fvu_pca": Meaning("PCA, k components", "FVU through top_k principal components of the training texts."),
        "fvu_random_dictionary": Meaning(
            "Random dictionary", "FVU through as many random directions, of which each text takes its best top_k."
        ),
        "explained_variance": Meaning("Explained variance", "1 minus FVU.", better="higher"),
        "mse": Meaning("Squared error", "Mean squared error per element of an embedding.", better="lower"),
        "cosine": Meaning("Cosine", "Mean cosine of an embedding and its reconstruction.", better="higher"),
        "relative_bias": Meaning(
            "Relative bias",
            "Squared norm of reconstructions over their inner product with the embeddings, about the mean: 1 is right, "
            "below it they are too short (arXiv 2404.16014).",
        ),
    },
    "Sparsity": {
        "l0": Meaning("Active latents (L0)", "Latents that the SAE uses for a text, on average.", headline=True),
        "l0_std": Meaning("Spread of L0", "Standard deviation of L0 over texts; 0 where every text has the same."),
        **{
            f"l0_p{q:02d}": Meaning(f"L0, {q} % of texts", f"{q} % of texts use at most this many latents.")
            for q in (1, 25, 50, 75, 99)
        },
        "dead_fraction": Meaning(
            "Dead latents",
            "Share of latents that no text uses, neither in the last epoch of training nor here.",
            headline=True,
            better="lower",
            unit="%",
        ),
        "silent_fraction": Meaning(
            "Silent latents", "Share of latents that none of these texts uses; few texts leave many silent.", unit="%"
        ),
        "dense_fraction": Meaning("Dense latents", "Share of latents that more than a tenth of texts use.", unit="%"),
    },
    "Geometry": {
        "similarity_kept": Meaning(
            "Similarity kept",
            "Whether pairs of texts keep their order, from least to most alike: rank correlation of their cosines.",
            headline=True,
            better="higher",
        ),
        "neighbours_kept": Meaning(
            "Neighbours kept",
            "Share of a text's 10 nearest neighbours that stay so, among at most 2,000 texts; fewer make it easier.",
            headline=True,
            better="higher",
            unit="%",
        ),
    },
}
"""What every evaluation measures, by group; `probe` stands for `probe_original`, `probe_codes` and so on."""

RUN = {
    "sae_type": Meaning("Variant", "How the SAE chooses which latents are active."),
    "name": Meaning("Name", "What the run is called."),
    "dict_size": Meaning("Dictionary", "Latents that there are."),
    "top_k": Meaning("k", "Latents that a text may use, or should on average."),
    "model_name": Meaning("Model", "The model whose embeddings these are."),
    "dataset_path": Meaning("Corpus", "Where the evaluated texts come from."),
    "split": Meaning("Split", "Which texts of the corpus were evaluated."),
    "n_texts": Meaning("Texts evaluated", "Texts that the metrics were measured on."),
    "n_train_texts": Meaning("Texts trained on", "Texts that the SAE learned from."),
    "n_steps": Meaning("Steps", "Steps of the optimiser."),
    "seconds": Meaning("Training time", "Time of the training, with its calibration.", unit="s"),
    "evaluation_seconds": Meaning("Evaluation time", "Time of the evaluation, without tasks.", unit="s"),
}
"""What is known of the run beside its metrics."""

SPLITS = {
    "held_out": "held-out texts",
    "training": "training texts, because none was held out",
    "partly trained on": "texts some of which it was trained on, which flatters it",
    "another corpus": "texts of another corpus, which may hold some that it was trained on,",
}
"""What the values of `split` mean."""


def meanings() -> dict[str, dict[str, Meaning]]:
    """Return the meaning of every metric by group: those of the evaluation, of each task that there is, of the run."""
    tasks: dict[str, Meaning] = {}
    for measure in submodules(measures.__name__).values():
        tasks |= getattr(measure, "MEANINGS", {})
    return {**EVALUATION, "Tasks": tasks, "The run": RUN}

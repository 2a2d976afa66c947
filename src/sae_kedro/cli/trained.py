"""A trained SAE with its model, its corpus and the names of its latents, for commands that explain."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from sae_kedro.cli import places
from sae_kedro.errors import InputError, nearest, shown

if TYPE_CHECKING:
    from torch import Tensor

    from sae_kedro.activations.encoder import EmbeddingModel
    from sae_kedro.activations.store import ActivationsStoreSBERT
    from sae_kedro.interpretation.explain import Explanation
    from sae_kedro.interpretation.features import Features
    from sae_kedro.interpretation.highlights import Highlights
    from sae_kedro.interpretation.neighbours import Rows
    from sae_kedro.sae.base import SAE

ITS_OWN = "the corpus of the SAE"
INTERPRETED = "the corpus that told what latents stand for"
MEMORY = 2**30
"""Bytes of the corpus that stay in memory; the rest is read whenever it is needed."""
MAKE_ANEW = "`kedro run --pipelines interpret` makes it"


class Item(NamedTuple):
    """A text or a row that is explained."""

    text: str | None
    vector: Tensor
    row: int | None = None

    def __str__(self) -> str:
        return f"row {self.row:,}" if self.text is None else " ".join(self.text.split())


class Found(NamedTuple):
    """What is explained, and how."""

    items: list[Item]
    explanation: Explanation
    words: list[Highlights | None]
    """Of each item; None where they cannot be told."""


class TrainedRun:
    """A trained SAE, and what belongs to it, loaded when it is asked for.

    Args:
        data_root: The folder of all outputs; None: that of the project.
        name: The run; None: the one that was trained last.
        corpus: A dataset; `ITS_OWN` or None: the one that the SAE was trained on; `INTERPRETED`: the one that its
            features are of.

    Raises:
        InputError: There is no such run, or what names its latents cannot be read.
    """

    def __init__(self, data_root: str | None, name: str | None, corpus: str | None) -> None:
        from sae_kedro.sae.io import load_sae

        self._given, self.root, self._corpus = data_root, places.data_root(data_root), corpus
        runs = {file.parent.name: file for file in sorted((self.root / "06_models").glob("*/cfg.json"))}
        if not runs:
            raise InputError(f"there is no trained SAE in {self.root / '06_models'}; `kedro run` trains one")
        if name is not None and name not in runs:
            raise InputError(
                f"there is no run {shown(name)} in {self.root / '06_models'}{nearest(name, runs)}; "
                "`kedro sae models` lists those that are there"
            )
        self.name = name or max(runs, key=lambda run: runs[run].stat().st_mtime)
        self.sae: SAE = load_sae(runs[self.name].parent)
        self.reports = self.root / "08_reporting" / self.name
        features = self.reports / "features.parquet"
        self.labels, self.scores = _names(features, runs[self.name], self.sae.dict_size)

    @cached_property
    def model(self) -> EmbeddingModel:
        """What encodes texts."""
        from transformers.utils import logging

        from sae_kedro.interpretation.explain import model_of

        logging.disable_progress_bar()  # of weights that load in a second
        return model_of(self.sae)

    @cached_property
    def features(self) -> Features:
        """What the latents stand for.

        Raises:
            InputError: They have not been interpreted.
        """
        from sae_kedro.interpretation.features import Features

        self._interpreted("features.parquet")
        return Features.load(self.reports, self.sae)

    @property
    def page(self) -> str:
        """The explorer, as it opens from the disk.

        Raises:
            InputError: It is not there, or of another SAE.
        """
        page = self._interpreted("explorer.html").read_text(encoding="utf-8")
        if self.features.digest not in page:
            raise InputError(f"{self.reports / 'explorer.html'} is of another SAE; {MAKE_ANEW}")
        return page

    @cached_property
    def cfg(self) -> dict[str, Any]:
        """The configuration of the corpus, as `get_experiment_cfg` takes it."""
        from sae_kedro.activations.store import PLACE
        from sae_kedro.config import get_experiment_cfg
        from sae_kedro.keys import ExperimentConfig

        cfg = {key: value for key, value in self.sae.cfg.items() if key in ExperimentConfig.model_fields}
        cfg |= {"device": "auto", "data_root": str(self.root), "label_column": None}
        if self._given is None:
            cfg["cache_root"] = places.of_project()[1]
        if self._corpus == INTERPRETED:
            cfg |= self.features.summary.get("corpus", {})
        elif self._corpus not in (None, ITS_OWN):
            defaults = get_experiment_cfg()
            cfg |= {key: defaults[key] for key in (*PLACE, "embedding_column")} | {"dataset_path": self._corpus}
        if cfg.get("dataset_path") is None:
            raise InputError(f"run {self.name!r} does not say which corpus its SAE is of; name one: --corpus DATASET")
        return cfg

    @cached_property
    def store(self) -> ActivationsStoreSBERT:
        """The corpus."""
        from sae_kedro.activations.store import ActivationsStoreSBERT
        from sae_kedro.config import get_experiment_cfg

        return ActivationsStoreSBERT(None, get_experiment_cfg(**self.cfg))

    @property
    def setup(self) -> str:
        """Python that makes `sae` and `store`."""
        from sae_kedro.keys import TABLES

        fields = TABLES["encode"].model_fields
        own = {key: self.cfg[key] for key, field in fields.items() if self.cfg.get(key, field.default) != field.default}
        own.pop("act_size", None)  # follows from the others
        own["data_root"] = str(self.root.absolute())
        given = ", ".join(f"{key}={value!r}" for key, value in own.items())
        folder = self.root.absolute() / "06_models" / self.name
        return f"sae = load_sae({str(folder)!r})\nstore = ActivationsStoreSBERT(None, get_experiment_cfg({given}))"

    @cached_property
    def rows(self) -> Rows:
        """The rows of the corpus."""
        from sae_kedro.interpretation.neighbours import Rows

        return Rows(self.store, MEMORY)

    def encoded(self, texts: tuple[str, ...]) -> list[Item]:
        """Encode texts."""
        from sae_kedro.corpora.base import clean_text
        from sae_kedro.interpretation.explain import embed

        if not texts:
            return []
        cleaned = [clean_text(text) for text in texts]
        return [Item(*pair) for pair in zip(cleaned, embed(self.sae, cleaned, self.model), strict=True)]

    def row(self, number: int) -> Item:
        """Take a row of the corpus."""
        found = self.rows[number]
        return Item(found.text, found.vector, number)

    def neighbours(self, item: Item, n: int) -> Iterator[Item]:
        """Find what is nearest to an item, but for itself."""
        from sae_kedro.interpretation.neighbours import neighbours

        for found in neighbours(self.rows, item.vector, n, item.text if item.row is None else item.row):
            yield Item(found.text, found.vector, found.number)

    def explained(self, items: list[Item], difference: bool = False) -> Found:
        """Explain items to each other."""
        from sae_kedro.interpretation import explain as ways

        way = ways.explain_difference if difference else ways.explain_ranking if len(items) == 3 else ways.explain
        explanation = way(self.sae, *(item.vector for item in items), labels=self.labels)
        latents = [term.latent for term in explanation.terms if term.latent is not None]
        return Found(items, explanation, [self._words(item, latents) for item in items])

    def _interpreted(self, name: str) -> Path:
        if not (file := self.reports / name).is_file():
            raise InputError(f"there is no {file}; {MAKE_ANEW}")
        return file

    def _words(self, item: Item, latents: list[int]) -> Highlights | None:
        from sae_kedro.interpretation.highlights import highlight

        if item.text is None:
            return None
        try:
            return highlight(self.sae, item.text, latents, self.model)
        except InputError:  # another kind of model, or of encoder
            return None


def _names(file: Path, cfg_file: Path, dict_size: int) -> tuple[dict[int, str], dict[int, float]]:
    """Read labels and their scores, where the latents of the SAE have been interpreted."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not file.is_file():
        return {}, {}
    try:
        table = pq.read_table(file, columns=["latent", "label", "label_auroc"])
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{file} cannot be read as a table of features: {' '.join(str(error).split())}") from error
    rows = table.to_pylist()
    own = json.loads(cfg_file.read_text()).get("sha256", {}).get("weights", "")
    made_for = (table.schema.metadata or {}).get(b"sae_sha256", own.encode()).decode()
    if made_for != own or any(not 0 <= row["latent"] < dict_size for row in rows):
        click.echo(
            f"Latents have numbers for names: {file} is of another SAE than {cfg_file.parent}; "
            "`kedro run --pipelines interpret` makes its own",
            err=True,
        )
        return {}, {}
    labels = {row["latent"]: row["label"] for row in rows if row["label"]}
    return labels, {row["latent"]: row["label_auroc"] for row in rows if row["label_auroc"] is not None}

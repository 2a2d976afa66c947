"""The features of an SAE: a row per latent, saved beside what tells which SAE they are of."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from sae_kedro.errors import InputError, shown
from sae_kedro.interpretation.keywords import alike
from sae_kedro.interpretation.labels import Encode
from sae_kedro.sae.base import SAE
from sae_kedro.sae.io import weights_digest

FILE, SUMMARY, TOGETHER = "features.parquet", "interpretation.json", "together.csv"
_DIGEST = b"sae_sha256"


@dataclass(frozen=True)
class Features:
    """What the latents of an SAE stand for."""

    table: pd.DataFrame
    """A row per latent, in their order: `latent, label, keywords, label_auroc, floor_auroc, family` and more."""
    digest: str
    """SHA-256 of the weights of the SAE that they are of, as `cfg.json` of the saved SAE has it."""
    together: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Pairs of latents that fire together, though their directions are unlike."""
    summary: dict[str, Any] = field(default_factory=dict)
    """Means of the scores, and how many latents have a label."""

    @property
    def labels(self) -> dict[int, str]:
        """The label of each latent that has one."""
        named = self.table.dropna(subset="label")
        return dict(zip(named["latent"].tolist(), named["label"].tolist(), strict=True))

    def save(self, folder: str | Path) -> None:
        """Write `features.parquet`, the same as `.csv`, `together.csv` and `interpretation.json`.

        Lists are JSON in the CSV file.
        """
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        rows = pa.Table.from_pandas(self.table, preserve_index=False)
        rows = rows.replace_schema_metadata({_DIGEST: self.digest.encode()})
        pq.write_table(rows, place / f"{FILE}.tmp")
        (place / f"{FILE}.tmp").replace(place / FILE)
        flat = self.table.map(lambda cell: json.dumps(cell, ensure_ascii=False) if isinstance(cell, list) else cell)
        flat.to_csv((place / FILE).with_suffix(".csv"), index=False)
        self.together.to_csv(place / TOGETHER, index=False)
        (place / SUMMARY).write_text(json.dumps(self.summary, indent=2) + "\n")

    @classmethod
    def load(cls, path: str | Path, sae: SAE | None = None) -> Features:
        """Read what `save` has written.

        Args:
            path: The folder, or `features.parquet` in it.
            sae: The SAE that the features are to be used with; None: nothing is compared.

        Raises:
            InputError: There is no such file, it is something else, or the features are of another SAE.
        """
        file = Path(path) / FILE if Path(path).is_dir() else Path(path)
        try:
            rows = pq.read_table(file)
        except (OSError, pa.ArrowInvalid) as error:
            raise InputError(f"{file} cannot be read as a table of features: {error}") from error
        digest = (rows.schema.metadata or {}).get(_DIGEST)
        if digest is None:
            raise InputError(f"{file} is no table of features: it does not say which SAE they are of")
        together, told = file.with_name(TOGETHER), file.with_name(SUMMARY)
        features = cls(
            rows.to_pandas(),
            digest.decode(),
            pd.read_csv(together) if together.is_file() else pd.DataFrame(),
            json.loads(told.read_text()) if told.is_file() else {},
        )
        if sae is not None:
            features.check(sae)
        return features

    def check(self, sae: SAE) -> None:
        """Make sure that these are features of an SAE.

        Raises:
            InputError: They are of another one.
        """
        if (found := weights_digest(sae)) != self.digest:
            raise InputError(
                f"these features are of another SAE (weights {self.digest[:12]}, not {found[:12]}); "
                "run the pipeline interpret for this one"
            )

    def top_texts(self, latent: int) -> list[str]:
        """Return the texts on which a latent fires most, the strongest first.

        Raises:
            InputError: There is no such latent.
        """
        if latent not in self.table.index:
            raise InputError(f"latent={shown(latent)} does not exist; latents are 0 to {len(self.table) - 1}")
        return list(self.table.at[latent, "top_texts"])

    def search(self, query: str, n: int = 10) -> pd.DataFrame:
        """Find latents by words: those whose keywords weigh most in the query, or whose label, if it is none of them.

        Returns:
            At most `n` rows of the table with a column `score`, the best first.
        """
        single = _words(query)
        words = [*single, *map(" ".join, pairwise(single))]
        table = self.table
        score = [
            sum(w for pattern, w in zip(patterns, weights, strict=True) if any(alike(pattern, word) for word in words))
            for patterns, weights in zip(table["patterns"], table["weights"], strict=True)
        ]
        if "label_source" in table:  # labels by a language model or a person have words of their own
            given = table["label"].where(table["label_source"] != "keywords").fillna("")
            score = [
                s + sum(any(alike(w, word) for w in _words(label)) for word in single)
                for s, label in zip(score, given, strict=True)
            ]
        return _best(self.table.assign(score=score).query("score > 0"), "score", n)

    def search_by_meaning(self, query: str, sae: SAE, encode: Encode, n: int = 10) -> pd.DataFrame:
        """Find latents by meaning: those whose direction is nearest to the query's embedding.

        Args:
            query: Any text.
            sae: The SAE that the features are of.
            encode: Gives embeddings of texts, by the model of the SAE.
            n: Rows.

        Raises:
            InputError: The features are of another SAE.
        """
        self.check(sae)
        with torch.no_grad():
            x = sae.normalise(torch.as_tensor(np.asarray(encode([query])), dtype=sae.W_dec.dtype))[0][0]
            score = torch.nn.functional.cosine_similarity(sae.W_dec.cpu(), x[None].cpu()).numpy()
        return _best(self.table.assign(score=score), "score", n)

    def of(self, text: str, sae: SAE, encode: Encode, n: int = 10) -> pd.DataFrame:
        """List the latents that fire on a text.

        Returns:
            At most `n` rows of the table with a column `activation`, the strongest first.

        Raises:
            InputError: The features are of another SAE.
        """
        self.check(sae)
        codes = sae.transform(np.asarray(encode([text])))
        return _best(self.table.loc[codes.indices].assign(activation=codes.data), "activation", n)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _best(table: pd.DataFrame, column: str, n: int) -> pd.DataFrame:
    return table.sort_values(column, ascending=False, kind="stable").head(n)

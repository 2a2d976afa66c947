"""Keys that name what an SAE is evaluated with, beside held-out texts."""

from __future__ import annotations

from pydantic import Field

from sae_kedro.validation import Incidental, Table


class Keys(Table):
    """Labels, sets of texts, another SAE."""

    label_column: Incidental[str | None] = Field(
        None, min_length=1, description="column that holds a label, which probes predict in evaluation; null: no probes"
    )
    sts_path: Incidental[str | None] = Field(
        None, min_length=1, description=".jsonl or .csv file with sentence1, sentence2, score, as STS-B; null: none"
    )
    retrieval_path: Incidental[str | None] = Field(
        None, min_length=1, description="folder with queries.jsonl, corpus.jsonl, qrels.tsv, as BEIR; null: none"
    )
    stability_path: Incidental[str | None] = Field(
        None,
        min_length=1,
        description="folder of an SAE trained with another seed, to count shared features; null: none",
    )

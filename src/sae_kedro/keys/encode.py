"""Keys that decide what is encoded, with which model, and where it is kept."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sae_kedro.validation import Incidental, Table


class Keys(Table):
    """The Sentence-BERT model, the corpus, the buffer."""

    model_name: str | None = Field(
        None,
        min_length=1,
        description="SentenceTransformer: Hub name or folder; null: sentence-transformers/all-MiniLM-L6-v2, or unknown "
        "where embeddings are given",
    )
    model_batch_size: Incidental[int] = Field(
        2048,
        ge=1,
        description="token budget of one forward pass of the Sentence-BERT model, padding included",
    )
    max_seq_length: int | None = Field(None, ge=1, description="tokens kept of a text; null: the model's own limit")
    act_size: int | None = Field(
        None, ge=1, description="embedding size; null: that of the model, or of given embeddings"
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description="precision of the Sentence-BERT forward pass; auto: bfloat16 where the machine gains from it",
    )
    device: str = Field("auto", min_length=1, description="auto, cpu, cuda or cuda:N")

    dataset_path: str = Field(
        "python-docs",
        min_length=1,
        description="Hub dataset, local file, folder or glob, embeddings in an .npy file, or python-docs",
    )
    dataset_config: str | None = Field(None, description="configuration (subset) of a Hub dataset")
    dataset_split: str = Field("train", min_length=1, description="split of a Hub dataset")
    dataset_revision: str | None = Field(None, description="branch, tag or commit of a Hub dataset; null: main")
    text_column: str = Field("text", min_length=1, description="column that holds the text")
    embedding_column: str | None = Field(
        None,
        min_length=1,
        description="column of embeddings that are there already, or an .npy file of them, row for row; null: encode",
    )
    bad_lines: Incidental[Literal["fail", "skip"]] = Field(
        "fail",
        description="a line of a local file that cannot be read: fail names it; skip leaves it out, counted",
    )
    num_examples: int | None = Field(30_000, ge=1, description="texts to use at most; null: the whole corpus")
    eval_fraction: float = Field(
        0.05,
        ge=0,
        le=1,
        description="share of texts held out by a hash of the text; half as many again calibrate",
    )

    buffer_size: int = Field(262_144, ge=1, description="embeddings shuffled together in memory")
    cache_root: Incidental[str | None] = Field(
        None, min_length=1, description="folder of embedding caches, for several data_roots; null: below data_root"
    )
    data_root: Incidental[str] = Field(
        "data", min_length=1, description="folder of all outputs, and of embedding caches where cache_root is null"
    )

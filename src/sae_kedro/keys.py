"""The one table of configuration keys: names, types, defaults, bounds and meanings; and sentences for wrong values."""

from __future__ import annotations

from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.fields import FieldInfo

from sae_kedro.errors import InputError, nearest, shown

LARGEST_INT = 2**53
"""Whole numbers up to here are the same number to every library, JSON and float64 included."""


class ExperimentConfig(BaseModel):
    """Every key of a run. `null` means: derived, or the library's own choice, as the meaning says."""

    model_config = ConfigDict(extra="forbid", strict=True, validate_default=True, allow_inf_nan=False)

    sae_type: str = Field("topk", description="SAE variant: vanilla, topk, batchtopk, jumprelu, or a plugin's name")
    dict_size: int = Field(3072, ge=1, description="number of latents in the dictionary")
    top_k: int = Field(32, ge=1, description="active latents per text: exact for topk, mean for batchtopk, target else")
    input_unit_norm: bool = Field(False, description="standardise every embedding by its own mean and deviation first")
    aux_penalty: float = Field(1 / 32, ge=0, description="weight of AuxK, the loss that revives dead latents; 0: off")
    top_k_aux: int | None = Field(None, ge=1, description="dead latents per text used by AuxK; null: act_size / 2")
    dead_after: float = Field(0.5, gt=0, le=1e6, description="a latent is dead after this many epochs without firing")

    model_name: str = Field(
        "sentence-transformers/all-MiniLM-L6-v2",
        min_length=1,
        description="SentenceTransformer: Hub name or folder",
    )
    model_batch_size: int = Field(
        2048,
        ge=1,
        description="token budget of one forward pass of the Sentence-BERT model, padding included",
    )
    max_seq_length: int | None = Field(None, ge=1, description="tokens kept of a text; null: the model's own limit")
    act_size: int | None = Field(None, ge=1, description="embedding size; null: read from the model")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description="precision of the Sentence-BERT forward pass; auto: bfloat16 where the machine gains from it",
    )
    device: str = Field("auto", min_length=1, description="auto, cpu, cuda or cuda:N")

    dataset_path: str = Field(
        "python-docs", min_length=1, description="Hub dataset, local file, folder or glob, or python-docs"
    )
    dataset_config: str | None = Field(None, description="configuration (subset) of a Hub dataset")
    dataset_split: str = Field("train", min_length=1, description="split of a Hub dataset")
    dataset_revision: str | None = Field(None, description="branch, tag or commit of a Hub dataset; null: main")
    text_column: str = Field("text", min_length=1, description="column that holds the text")
    label_column: str | None = Field(
        None, min_length=1, description="column that holds a label, which probes predict in evaluation; null: no probes"
    )
    bad_lines: Literal["fail", "skip"] = Field(
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

    batch_size: int = Field(512, ge=1, description="embeddings per training step")
    buffer_size: int = Field(262_144, ge=1, description="embeddings shuffled together in memory")
    n_epochs: int = Field(10, ge=1, description="passes over the training texts")
    lr: float | None = Field(
        None,
        gt=0,
        description="peak rate of encoders; decoders learn at 2, biases at 5 times it, directions more in short runs; "
        "null: from batch_size",
    )
    encoder_tie: float | None = Field(
        None,
        ge=0,
        description="pull of encoders towards their decoders, per step and rate; null: 2, more in short runs",
    )
    beta1: float = Field(0.5, ge=0, lt=1, description="Adam's decay of the first moment")
    beta2: float = Field(0.99, ge=0, lt=1, description="Adam's decay of the second moment")
    max_grad_norm: float = Field(
        1.0, gt=0, description="gradients are clipped to this common norm, unless the variant sets a rate for them"
    )
    matmul_precision: Literal["highest", "high", "medium"] = Field(
        "highest",
        description="products in training; highest: float32, high: TF32, medium: bfloat16, where the hardware has them",
    )
    lr_warmup: float = Field(0.05, ge=0, le=1, description="share of steps with linearly rising learning rate")
    lr_decay: float = Field(0.2, ge=0, le=1, description="share of steps, at the end, with rate falling linearly to 0")
    seed: int = Field(0, ge=0, description="seed of initial weights and data order")

    sae_types: list[str] | None = Field(
        ["vanilla", "topk", "batchtopk", "jumprelu"],
        min_length=1,
        description="variants to compare, joined by + on the command line; null: every installed one",
    )
    top_ks: list[Annotated[int, Ge(1)]] = Field(
        [16, 32, 64], min_length=1, description="values of top_k to compare, such as 16+32 on the command line"
    )

    sts_path: str | None = Field(
        None, min_length=1, description=".jsonl or .csv file with sentence1, sentence2, score, as STS-B; null: none"
    )
    retrieval_path: str | None = Field(
        None, min_length=1, description="folder with queries.jsonl, corpus.jsonl, qrels.tsv, as BEIR; null: none"
    )
    stability_path: str | None = Field(
        None,
        min_length=1,
        description="folder of an SAE trained with another seed, to count shared features; null: none",
    )

    checkpoint_every: int | None = Field(
        None, ge=1, description="steps between checkpoints; null: none but the one that an interrupted run leaves"
    )
    resume: bool = Field(False, description="go on from the last checkpoint, or start where there is none")
    log_every: int = Field(20, ge=1, description="steps between rows of the metric history")
    wandb_project: str = Field("sae_kedro", min_length=1, description="Weights & Biases project")
    wandb_mode: Literal["auto", "online", "offline", "disabled"] = Field(
        "auto", description="auto: online where credentials exist, else offline"
    )
    name: str | None = Field(None, description="name of the run; null: derived from the main keys")
    data_root: str = Field("data", min_length=1, description="folder of the embedding cache and of all outputs")

    @field_validator("wandb_project")
    @classmethod
    def _as_wandb_allows(cls, value: str) -> str:
        """Refuse what W&B refuses, before anything is trained."""
        if len(value) > 128 or any(letter in "/\\#?%:" for letter in value):
            raise ValueError(
                f"wandb_project={shown(value)} is not allowed: at most 128 characters, none of / \\ # ? % :"
            )
        return value

    @field_validator("sae_types", "top_ks", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        """Split `16+32`, because `--params` cannot pass a list, and take a single value for a list of one."""
        if isinstance(value, str):
            return [
                int(part) if part.isdecimal() and len(part) < 20 else part for part in value.replace(" ", "").split("+")
            ]
        return [value] if isinstance(value, (int, float)) else value


NOT_DECISIVE = {
    *("sae_types", "top_ks", "name", "data_root", "model_batch_size"),
    *("checkpoint_every", "resume", "log_every", "wandb_project", "wandb_mode"),
    *("bad_lines", "label_column", "sts_path", "retrieval_path", "stability_path"),
}
"""Keys that the weights of a trained SAE do not depend on, or only by the embeddings."""


_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", list: "a list"}
_BOUNDS = {Ge: "of at least {0.ge}", Gt: "above {0.gt}", Le: "at most {0.le}", Lt: "below {0.lt}"}


def allowed_values(field: FieldInfo) -> str:
    """Say in words what a key accepts, from its type and bounds."""
    kind, *others = _kinds(field)
    if get_origin(kind) is Literal:
        text = "one of " + ", ".join(map(str, get_args(kind)))
    else:
        limits = [_BOUNDS[type(limit)].format(limit) for limit in field.metadata if type(limit) in _BOUNDS]
        if any(isinstance(limit, MinLen) for limit in field.metadata):
            limits.append("that is not empty")
        text = " ".join([_WORDS.get(get_origin(kind) or kind, str(kind)), " and ".join(limits)]).strip()
    return text + (" or null" if type(None) in others else "")


def _kinds(field: FieldInfo) -> tuple[Any, ...]:
    """List the types of a union, or the one type of a field."""
    is_union = get_origin(field.annotation) in (Union, UnionType)
    return get_args(field.annotation) if is_union else (field.annotation,)


def check_model(model: type[BaseModel], values: dict[str, Any]) -> dict[str, Any]:
    """Validate `values` against a pydantic model and return them, raising one sentence for what is wrong.

    Raises:
        InputError: Names the first wrong key, the value given and what is allowed.
    """
    try:
        checked = model(**values).model_dump()
    except ValidationError as error:
        raise InputError("; ".join(_sentence(model, problem) for problem in error.errors()[:3])) from None
    for key, value in checked.items():
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, int) and number > LARGEST_INT:
                raise InputError(f"{key}={shown(value)} is too large; choose at most {LARGEST_INT}")
    return checked


def _sentence(model: type[BaseModel], problem: Any) -> str:
    key = str(problem["loc"][0]) if problem["loc"] else ""
    if key not in model.model_fields or problem["type"] == "value_error":
        return str(problem["msg"]).removeprefix("Value error, ")
    given, field = problem["input"], model.model_fields[key]
    if isinstance(problem["loc"][-1], int):  # the place of an entry in a list
        entry = FieldInfo.from_annotation(get_args(_kinds(field)[0])[0])
        return f"{key} cannot hold {shown(given)}: each entry must be {allowed_values(entry)}"
    choices = [value for value in get_args(field.annotation) if isinstance(value, str)]
    return f"{key}={shown(given)} is not allowed: it must be {allowed_values(field)}{nearest(given, choices)}"

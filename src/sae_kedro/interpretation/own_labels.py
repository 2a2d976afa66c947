"""Labels that a person has given to latents: a file of lines beside the features, which only ever grows."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from sae_kedro.corpora.base import clean_text
from sae_kedro.errors import InputError, shown
from sae_kedro.interpretation.features import Features

logger = logging.getLogger(__name__)

FILE = "own_labels.jsonl"
SOURCE = "label_source"
"""The column that says where a label comes from: `keywords`, `llm` or `person`."""


def add_own_label(file: Path, digest: str, latent: int, label: str, note: str = "") -> None:
    """Add a label to the file; it takes the place of earlier ones of the same latent.

    Args:
        file: Made if it is not there.
        digest: SHA-256 of the weights of the SAE.
        latent: Which one.
        label: What it stands for; empty for the label that was made without a person.
        note: Anything.

    Raises:
        InputError: The file cannot be written.
    """
    line = {
        "sae_sha256": digest,
        "latent": latent,
        "label": clean_text(label.strip()),
        "note": clean_text(note),
        "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line, ensure_ascii=False) + "\n")
    except OSError as error:
        raise InputError(f"{file} cannot be written: {error.strerror or error}") from error


def read_own_labels(file: Path, digest: str | None = None) -> dict[int, str]:
    """Read the last label of each latent.

    Lines of another SAE are left out with a warning that counts them: whoever trains a run anew keeps its folder, and
    labels of the former SAE are no reason to fail then.

    Args:
        file: Of lines as `add_own_label` writes them; it need not be there.
        digest: SHA-256 of the weights of the SAE whose labels count; None: lines are only looked at.

    Raises:
        InputError: A line is none of a label.
    """
    labels, others = dict[int, str](), 0
    for number, line in enumerate(file.read_bytes().splitlines() if file.is_file() else [], 1):
        if not line.strip():
            continue
        given = _read(line, f"{file}, line {number},")
        if given["sae_sha256"] == digest:
            labels[given["latent"]] = given["label"]
        others += given["sae_sha256"] != digest
    if others and digest is not None:
        logger.warning(
            "%d own labels in %s are of another SAE (of the same folder, earlier) and left out", others, file
        )
    return {latent: label for latent, label in labels.items() if label}


def with_own_labels(features: Features, labels: Mapping[int, str]) -> Features:
    """Let own labels win: `label` is theirs, and `label_source` says `person`.

    Scores and keywords stay: they are those of the labels that were made without a person, as nobody has scored others.

    Args:
        features: Of an SAE.
        labels: By latent.
    """
    table = features.table.copy()
    if SOURCE not in table:
        place = table.columns.get_loc("label")
        assert isinstance(place, int)
        table.insert(place + 1, SOURCE, table["label"].notna().map({True: "keywords", False: None}))
    own = table["latent"].isin(list(labels))
    table.loc[own, "label"] = table.loc[own, "latent"].map(labels)
    table.loc[own, SOURCE] = "person"
    together = features.together.copy()
    for side in ("a", "b") if len(together) else ():
        named = together[f"latent_{side}"].map(labels)
        together[f"label_{side}"] = named.where(named.notna(), together[f"label_{side}"])
    return dataclasses.replace(features, table=table, together=together)


def _read(line: bytes, where: str) -> dict[str, Any]:
    kinds = {"sae_sha256": str, "latent": int, "label": str}
    try:
        given = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not valid JSON: {error}; mend or remove it") from error
    if not isinstance(given, dict) or any(type(given.get(key)) is not kind for key, kind in kinds.items()):
        raise InputError(f"{where} is no label: it needs {', '.join(kinds)}, and is {shown(given)}")
    return given

"""Tables of configuration keys as pydantic models, and one sentence for a value that does not fit."""

from __future__ import annotations

from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from sae_kedro.errors import InputError, nearest, shown

LARGEST_INT = 2**53
"""Whole numbers up to here are the same number to every library, JSON and float64 included."""
INCIDENTAL = "incidental"
_T = TypeVar("_T")
Incidental = Annotated[_T, INCIDENTAL]
"""Type of a key that the weights of a trained SAE do not depend on, or only by the embeddings."""


class Table(BaseModel):
    """Keys with types, defaults, bounds and meanings: subclass it, one described `Field` per key."""

    model_config = ConfigDict(extra="forbid", strict=True, validate_default=True, allow_inf_nan=False)


_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
_WORDS |= {list: "a list", dict: "a mapping"}
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
        kinds = [_WORDS.get(get_origin(each) or each, str(each)) for each in (kind, *others) if each is not type(None)]
        text = " ".join([" or ".join(kinds), " and ".join(limits)]).strip()
    return text + (" or null" if type(None) in others else "")


def takes(field: FieldInfo, kind: type) -> bool:
    """Say whether values of a key may be of a kind; a choice among words is of the kind `str`."""
    kinds = _kinds(field)
    return kind in kinds or (kind is str and any(get_origin(each) is Literal for each in kinds))


def _kinds(field: FieldInfo) -> tuple[Any, ...]:
    """List the types of a union, or the one type of a field."""
    is_union = get_origin(field.annotation) in (Union, UnionType)
    return get_args(field.annotation) if is_union else (field.annotation,)


def check_model(model: type[BaseModel], values: dict[str, Any]) -> dict[str, Any]:
    """Validate `values` against a pydantic model and return them, raising one sentence for what is wrong.

    Raises:
        InputError: Names the first wrong key, the value given and what is allowed.
    """
    values = {key: _whole(value, model.model_fields.get(key)) for key, value in values.items()}
    try:
        checked = model(**values).model_dump()
    except ValidationError as error:
        raise InputError(
            "; ".join(dict.fromkeys(_sentence(model, problem) for problem in error.errors()[:3]))
        ) from None
    for key, value in checked.items():
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, int) and number > LARGEST_INT:
                raise InputError(f"{key}={shown(value)} is too large; choose at most {LARGEST_INT}")
    return checked


def _whole(value: Any, field: FieldInfo | None) -> Any:
    """Take 32.0 and 1e5 for the whole numbers that they are, where a key wants one."""
    if field is None or not isinstance(value, float) or not value.is_integer():
        return value
    kinds = _kinds(field)
    return int(value) if int in kinds and float not in kinds else value


def _sentence(model: type[BaseModel], problem: Any) -> str:
    key = str(problem["loc"][0]) if problem["loc"] else ""
    if problem["type"] == "missing":
        return f"{key} is missing: it must be {allowed_values(model.model_fields[key])}"
    if problem["type"] == "extra_forbidden":
        return f"{shown(key)} is not known{nearest(key, model.model_fields)}"
    if key not in model.model_fields or problem["type"] == "value_error":
        return str(problem["msg"]).removeprefix("Value error, ")
    given, field = problem["input"], model.model_fields[key]
    if isinstance(problem["loc"][-1], int):  # the place of an entry in a list
        entry = FieldInfo.from_annotation(get_args(_kinds(field)[0])[0])
        return f"{key} cannot hold {shown(given)}: each entry must be {allowed_values(entry)}"
    choices = [value for value in get_args(field.annotation) if isinstance(value, str)]
    return f"{key}={shown(given)} is not allowed: it must be {allowed_values(field)}{nearest(given, choices)}"

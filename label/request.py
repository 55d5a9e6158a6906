"""Values of clients' requests, checked by pydantic."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from acuity.errors import DataError

T = TypeVar("T")


class Segment(BaseModel):
    """The meaning of a value in a label file; without ``idx`` it is the item's place in the list, from 1."""

    name: str
    idx: int | None = None


class SaveRequest(BaseModel):
    """What comes with a label that is saved.

    Parameters
    ----------
    label_info : meanings of the file's values; none where they are Acuity's own, 0, 1, 2 and 4
    user : the annotator, whom only the gateway sets
    model, params : name of the model that made the label, and its "version" and "weights_sha256"; none for a person's
    """

    label_info: list[Segment] | None = None
    user: str | None = None
    model: str | None = None
    params: dict[str, Any] | None = None


def checked(kind: type[T], value: object, name: str) -> T:
    """``value`` as ``kind``.

    Parameters
    ----------
    name : of the value, for the message, which does not quote the value itself

    Raises
    ------
    DataError : it is of another kind
    """
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join([name, *map(str, fault["loc"])])
        raise DataError(f"{place} is not valid.", rule=f"{fault['msg']}.", remedy="Correct the request.") from None

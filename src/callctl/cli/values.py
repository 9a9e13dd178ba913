"""Option values that are what they are: texts, absent ones, and numbers that are the default.

Typer reads every value with pydantic, also a text that is to stay a text, and builds a schema for each option to do so.
That takes longer than a whole hang-up. What needs no reading is therefore passed on, and the rest left to Typer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class PlainValues:
    """Stands in for Typer's reader of one parameter until there is something to read."""

    def __init__(self, annotation: Any, real: Callable[[], Any]) -> None:
        self._annotation = annotation
        self._real = real

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the value of a parameter, as Typer would."""
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        if self._annotation is str and isinstance(value, str):
            return value
        if self._annotation == list[str] and isinstance(value, (list, tuple)) and all(map(_is_text, value)):
            return list(value)
        if self._annotation in (int, float) and type(value) is self._annotation and value == param.default:
            return value
        return self._real().coerce(value, param=param, ctx=ctx)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def pass_plain_values(params: list[Any]) -> list[Any]:
    """Let the parameters of a command pass on what needs no reading; return them."""
    for param in params:
        descriptor = getattr(param, "type_descriptor", None)
        if descriptor is not None and "get_runtime_param" not in vars(param):
            stand_in = PlainValues(descriptor.annotation, param.get_runtime_param)
            param.get_runtime_param = lambda stand_in=stand_in: stand_in
    return params

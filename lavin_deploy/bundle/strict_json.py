"""JSON to frozen dataclasses, strictly: the type hints are the specification."""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from lavin_deploy.errors import BundleError


def parse(text: str | bytes, where: str) -> Any:
    """Parse JSON, refusing what the standard does not have: NaN, infinities, repeated keys.

    Args:
        text: the text, UTF-8 when bytes.
        where: what the text is, for messages.

    Raises:
        BundleError: it is not such JSON.
    """

    def once(items: list[tuple[str, Any]]) -> dict[str, Any]:
        data = dict(items)
        if len(data) != len(items):
            raise ValueError("a key is repeated")
        return data

    def constant(name: str) -> Any:
        raise ValueError(f"{name} is not a number of JSON")

    try:
        return json.loads(text, object_pairs_hook=once, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{where} is not valid JSON ({error}); write the file again.") from error


def from_json(kind: Any, data: Any, where: str) -> Any:
    """Build a value of a type from parsed JSON.

    Args:
        kind: a dataclass, ``str``, ``int``, ``float``, ``bool``, ``Literal[...]``, ``X | None``,
            ``tuple[X, ...]``, ``tuple[X, Y]``, ``Mapping[str, X]`` or ``Any``.
        data: parsed JSON; keys that a dataclass does not have are ignored.
        where: path of the value, for messages.

    Raises:
        BundleError: a value is missing or has another type; the message names it.
    """
    origin = get_origin(kind)
    if kind is Any:
        return data
    if is_dataclass(kind):
        return _dataclass(kind, data, where)
    if origin is Literal:
        return _check(data in get_args(kind), data, where, f"one of {list(get_args(kind))}")
    if origin in (Union, types.UnionType):
        inner = next(arg for arg in get_args(kind) if arg is not type(None))
        return None if data is None else from_json(inner, data, where)
    if origin is tuple:
        return _tuple(get_args(kind), data, where)
    if origin is Mapping:
        _check(isinstance(data, dict), data, where, "an object")
        inner = get_args(kind)[1]
        return {key: from_json(inner, value, f"{where}: {key}") for key, value in data.items()}
    if kind is float:
        number = isinstance(data, int | float) and not isinstance(data, bool)
        return float(_check(number and abs(data) < 1e300, data, where, "a finite number"))
    return _check(type(data) is kind, data, where, f"of type {kind.__name__}")


def _dataclass(kind: Any, data: Any, where: str) -> Any:
    _check(isinstance(data, dict), data, where, "an object")
    values = {}
    hints = _hints(kind)
    for item in fields(kind):
        if item.name in data:
            values[item.name] = from_json(
                hints[item.name], data[item.name], f"{where}: {item.name}"
            )
        elif item.default is MISSING and item.default_factory is MISSING:
            raise BundleError(f"{where} lacks {item.name!r}; write the file again.")
    return kind(**values)


def _tuple(args: tuple[Any, ...], data: Any, where: str) -> tuple[Any, ...]:
    _check(isinstance(data, list), data, where, "a list")
    if args[1:] == (...,):
        args = (args[0],) * len(data)
    _check(len(args) == len(data), data, where, f"a list of {len(args)}")
    pairs = enumerate(zip(args, data, strict=True))
    return tuple(from_json(arg, item, f"{where}[{i}]") for i, (arg, item) in pairs)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _check(right: bool, data: Any, where: str, expected: str) -> Any:
    if not right:
        text = repr(data)
        text = text if len(text) <= 60 else f"{text[:57]}..."
        raise BundleError(f"{where} is {text}; it must be {expected}.")
    return data

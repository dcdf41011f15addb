"""What each item must be that is sent to a model's server, stored, or taken from its answer."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Container, Mapping
from typing import Any

from engine.text import clean

_NAME = re.compile("[a-zA-Z0-9_-]{1,64}")
_NOT_IN_A_NAME = re.compile("[^a-zA-Z0-9_-]")


def repairs(item: Mapping[str, Any]) -> dict[str, Any] | None:
    """The fields of `item` that are not what the API's types demand, as they should be: mostly
    none. None if nothing can be made of it.

    A server may send a call whose name is null or whose arguments are an object, or half a
    surrogate pair. Stored or sent back as it came, each would make every later request fail.
    """
    fixed: dict[str, Any] = {}
    for field, value in item.items():
        if isinstance(value, str) and not value.isprintable() and value != clean(value):
            fixed[field] = clean(value)
    whole = {**item, **fixed} if fixed else item
    kind = whole.get("type")
    if kind not in ("function_call", "function_call_output"):
        return fixed
    if not isinstance(whole.get("call_id"), str):
        return None
    if kind == "function_call_output":
        if not isinstance(whole.get("output"), (str, list)):
            fixed["output"] = str(whole.get("output"))
        return fixed
    name, arguments = whole.get("name"), whole.get("arguments")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        given = name if isinstance(name, str) else ""
        fixed["name"] = _NOT_IN_A_NAME.sub("_", given)[:64] or "unknown"
    if not isinstance(arguments, str):
        fixed["arguments"] = "{}" if arguments is None else json.dumps(arguments)
    return fixed


def short_id(call_id: str, used: Container[str]) -> str:
    """`call_id` if it is short and not used yet; else one that is made of it."""
    if is_short(call_id) and call_id not in used:
        return call_id
    names = (hashlib.sha256(f"{call_id} {n}".encode()).hexdigest()[:9] for n in itertools.count())
    return next(name for name in names if name not in used)


def is_short(call_id: str) -> bool:
    """Whether every server takes `call_id`: Mistral wants nine letters or digits."""
    return len(call_id) == 9 and call_id.isascii() and call_id.isalnum()


def is_object(arguments: str) -> bool:
    """Whether the arguments of a call are a JSON object, as the API promises."""
    try:
        return arguments == "{}" or isinstance(_JSON.decode(arguments), dict)
    except (ValueError, RecursionError):
        return False


def _no_json(name: str) -> None:
    raise ValueError(name)  # Python reads NaN, a server does not


_JSON = json.JSONDecoder(parse_constant=_no_json)

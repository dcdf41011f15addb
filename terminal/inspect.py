"""/inspect: what MongoDB holds for one conversation, as mongosh shows it, with messages decoded."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console
from rich.text import Text

from engine.text import clean

if TYPE_CHECKING:
    from pymongo.asynchronous.collection import AsyncCollection

    from database import Customer, Database
    from engine.conversation import Conversation

Document = Mapping[str, Any]
LAST = 4  # of agent_messages: one turn with a handoff and a tool
OF_ORDERS = {"status": 1, "return": 1}
LINE = 80  # columns: what is longer gets a line for each field


@dataclass(frozen=True)
class Found:
    """One query and what it finds; documents and indexes are as pymongo returns them."""

    collection: str
    about: str
    query: Sequence[Document]  # the filter and, for some, the projection
    documents: Sequence[Document]
    indexes: Sequence[Document] = ()  # those that such a filter can use
    sort: str = ""
    note: str = ""


async def read(db: Database, conversation: Conversation, customer: Customer) -> list[Found]:
    """Look up all that MongoDB holds for `conversation`, and the customer's orders."""
    of_session = {"session_id": conversation.id}
    of_customer = {"customer_id": customer["_id"]}
    session = await db.agent_sessions.find_one(of_session) or {}
    # As the SDK asks: messages of its earlier versions have no generation.
    active = {**of_session, "generation": session.get("_generation") or {"$in": [0, None]}}
    messages = await db.agent_messages.find(active).sort("seq", -1).limit(LAST).to_list()
    total = await db.agent_messages.count_documents(active)
    said = f"the last {LAST} of {total:,} documents" if total > LAST else f"{total} documents"
    history = await conversation.next_input()
    size = len(json.dumps(history, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    note = f"The next turn sends {len(history):,} items to the model, {size:,} bytes."
    orders = await db.orders.find(of_customer, OF_ORDERS).to_list()
    stored = await db.conversations.find({"_id": conversation.id}).to_list()
    return [
        Found(
            "agent_sessions",
            "the SDK's session",
            [of_session],
            [session] if session else [],
            await _indexes(db.agent_sessions, of_session),
        ),
        Found(
            "agent_messages",
            said,
            [active],
            messages[::-1],
            await _indexes(db.agent_messages, active),
            ".sort({seq: 1})",
            note,
        ),
        Found("orders", "what the tools read and change", [of_customer, OF_ORDERS], orders),
        Found(
            "conversations",
            "what the SDK's session does not keep",
            [{"_id": conversation.id}],
            stored,
            await _indexes(db.conversations, {"_id": conversation.id}),
        ),
    ]


async def _indexes(collection: AsyncCollection[Any], query: Document) -> list[Document]:
    found = (await collection.index_information()).values()
    return [index for index in found if index["key"][0][0] in query]


class _Item(NamedTuple):
    """A value, and what it says: that stands below it."""

    stored: Any
    kind: str
    text: str


class _Note(str):
    """A word of ours in the place of a value."""


def draw(console: Console, everything: Sequence[Found]) -> None:
    """Print it; values too long for the console's width are cut, commands never."""
    for found in everything:
        _title(console, found.collection, found.about)
        query = ", ".join(_inline(each).plain for each in found.query)
        # Wrapped by the terminal, not by us: what is copied from two rows pastes as one line.
        command = f"db.{found.collection}.find({query}){found.sort}"
        console.print(Text(command, style="dim"), soft_wrap=True)
        for index in found.indexes:
            _print(console, _index(index))
        for document in found.documents:
            for line in _lines("", _decoded(document), "", "", min(console.width, LINE)):
                _print(console, line)
        if not found.documents:
            _print(console, Text("none yet"))
        if found.note:
            _print(console, Text(found.note, "dim"))


def _print(console: Console, line: Text) -> None:
    line.truncate(console.width, overflow="ellipsis")
    console.print(line, soft_wrap=True)


def _title(console: Console, name: str, about: str = "") -> None:
    line = Text("── ").append(name, "bold")
    if about:
        line.append(f" ─ {about}")
    line.append(" " + "─" * max(console.width - line.cell_len - 1, 0))
    console.print()
    _print(console, line)


def _decoded(document: Document) -> Document:
    """`document` with what is text inside of text decoded."""
    shown = dict(document)
    if stored := shown.get("message_data"):
        items = [_Item(each, *describe(each)) for each in _listed(stored)]
        # Up to 0.14, the SDK stored one item, no list.
        shown["message_data"] = items if isinstance(stored, list) else items[0]
    if waiting := shown.get("pending"):
        arguments, state = waiting.get("arguments"), str(waiting.get("state"))
        call = f"{waiting.get('tool')}({arguments})"
        size = len(state.encode("utf-8", "surrogatepass"))
        shown["pending"] = {
            **waiting,
            "arguments": _Item(arguments, "waits for a yes", _line(call)),
            "state": _Note(f"{size:,} bytes: the SDK's RunState"),
        }
    return shown


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _lines(name: str, value: Any, indent: str, end: str, width: int) -> Iterator[Text]:
    """`name: value` as mongosh writes it, `end` behind it, on one line if it fits."""
    start = Text(indent + (f"{name}: " if name else ""))
    whole = start.copy().append_text(_inline(value)).append(end)
    if isinstance(value, _Item):
        whole.stylize("dim")
        yield whole
        yield _meaning(value.kind, value.text, indent)
    elif isinstance(value, (Mapping, list)) and (whole.cell_len > width or _has_items(value)):
        opened, closed = "{}" if isinstance(value, Mapping) else "[]"
        yield start.append(opened)
        entries = value.items() if isinstance(value, Mapping) else [("", each) for each in value]
        for left, (key, nested) in zip(reversed(range(len(value))), entries, strict=True):
            comma = "," if left else ""
            yield from _lines(_key(key) if key else "", nested, indent + "  ", comma, width)
        yield Text(indent + closed + end)
    else:
        yield whole


def _has_items(value: Any) -> bool:
    if isinstance(value, (Mapping, list)):
        nested = value.values() if isinstance(value, Mapping) else value
        return any(map(_has_items, nested))
    return isinstance(value, _Item)


def _meaning(kind: str, text: str, indent: str) -> Text:
    return Text(indent + "└ ").append(kind, "bold cyan").append(f"  {text}")


def describe(stored: Any) -> tuple[str, str]:
    """What kind of item the SDK stored, such as `tool call`, and what it says, on one line."""
    try:
        kind, text = _kind(json.loads(stored))
        return _line(kind), _line(text)
    except (TypeError, ValueError, LookupError, AttributeError):
        return "unreadable", "the SDK will skip this item"


def _line(text: str) -> str:
    return " ".join(clean(text).split())


def _kind(item: dict[str, Any]) -> tuple[str, str]:
    kind = item.get("type", "message")
    if kind == "message":
        return "answer" if item["role"] == "assistant" else item["role"], _words(item["content"])
    if kind == "function_call" and item["name"].startswith("transfer_to_"):
        return "handoff", item["name"]
    if kind == "function_call":
        return "tool call", f"{item['name']}({item['arguments']})"
    if kind == "function_call_output":
        output = _words(item["output"])
        handoff = re.fullmatch(r'\{"assistant": ("[^"]*")\}', output)
        return ("handoff", f"to {json.loads(handoff[1])}") if handoff else ("tool output", output)
    if kind == "reasoning":
        return kind, _words(item["summary"]) or "without words, for the model alone"
    return kind, json.dumps(item, ensure_ascii=False)


def _words(content: Any) -> str:
    """The text of a content field: a string, or a list of parts."""
    if isinstance(content, str):
        return content
    return "".join(part.get("text") or part.get("refusal") or "" for part in content)


def _inline(value: Any) -> Text:
    """How mongosh writes `value` on one line."""
    if isinstance(value, Mapping):
        entries = [Text(f"{_key(key)}: ") + _inline(each) for key, each in value.items()]
        return Text("{") + Text(", ").join(entries) + Text("}")
    if isinstance(value, list):
        return Text("[") + Text(", ").join(_inline(each) for each in value) + Text("]")
    return Text(*_scalar(value.stored if isinstance(value, _Item) else value))


def _scalar(value: Any) -> tuple[str, str]:
    """How mongosh writes `value`, and the style to write it in."""
    if isinstance(value, _Note):
        return value, "dim"
    if isinstance(value, str):
        return _quoted(value), "green"
    if value is None or isinstance(value, (bool, int, float)):
        return json.dumps(value), "cyan"
    if isinstance(value, datetime):
        utc = value.astimezone(timezone.utc) if value.tzinfo else value
        return f'ISODate("{utc:%Y-%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03}Z")', "cyan"
    return f"{type(value).__name__}({_quoted(str(value))})", "cyan"


def _key(key: str) -> str:
    return key if key.lstrip("$").isidentifier() else _quoted(key)


def _quoted(text: str) -> str:
    """`text` as a JavaScript string in which everything is visible."""
    quoted = json.dumps(text, ensure_ascii=False)
    if '"' in text:  # in single quotes, the JSON inside stays readable
        quoted = "'" + quoted[1:-1].replace('\\"', '"').replace("'", "\\'") + "'"
    return "".join(c if clean(c) == c else f"\\u{ord(c):04x}" for c in quoted)


def _index(index: Document) -> Text:
    keys = ", ".join(f"{_key(field)}: {json.dumps(order)}" for field, order in index["key"])
    return Text(f"index {{{keys}}}", "dim").append(" unique" if index.get("unique") else "", "bold")

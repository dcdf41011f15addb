"""/inspect: what MongoDB holds for one conversation, as mongosh shows it, with messages decoded."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from engine.text import clean

if TYPE_CHECKING:
    from database import Database
    from engine.conversation import Conversation

Document = Mapping[str, Any]
LAST_DOCUMENTS = 4  # of agent_messages: one turn with a handoff and a tool


@dataclass(frozen=True)
class Inspection:
    """What is to be shown; documents and index keys are as pymongo returns them."""

    session_id: str
    session: Document | None  # of agent_sessions
    messages: Sequence[Document]  # the last ones of agent_messages, oldest first
    total_messages: int  # how many documents agent_messages holds for this session
    conversation: Document | None  # of conversations
    indexes: Mapping[str, Mapping[str, Document]]  # collection: its `index_information()`
    next_items: int  # how much of it the next turn would send to the model
    next_bytes: int


async def read(db: Database, conversation: Conversation) -> Inspection:
    """Look up all that MongoDB holds for `conversation`."""
    of_session = {"session_id": conversation.id}
    newest_first = db.agent_messages.find(of_session).sort("seq", -1).limit(LAST_DOCUMENTS)
    messages = await newest_first.to_list()
    history = await conversation.next_input()
    collections = (db.agent_sessions, db.agent_messages, db.conversations)
    return Inspection(
        session_id=conversation.id,
        session=await db.agent_sessions.find_one(of_session),
        messages=messages[::-1],
        total_messages=await db.agent_messages.count_documents(of_session),
        conversation=await db.conversations.find_one({"_id": conversation.id}),
        indexes={each.name: await each.index_information() for each in collections},
        next_items=len(history),
        next_bytes=len(json.dumps(history, ensure_ascii=False).encode("utf-8", "surrogatepass")),
    )


def draw(console: Console, found: Inspection) -> None:
    """Print `found`; values too long for the console's width are cut, commands never."""
    session_id = _quoted(found.session_id)
    shown, total = len(found.messages), found.total_messages

    _title(console, "agent_sessions", "the SDK's session")
    _command(console, f"db.agent_sessions.find({{session_id: {session_id}}})")
    _document(console, found.session)

    count = f"the last {shown} of {total:,} documents" if shown < total else f"{total} documents"
    _title(console, "agent_messages", count)
    _command(console, f"db.agent_messages.find({{session_id: {session_id}}}).sort({{seq: 1}})")
    for message in found.messages:
        _document(console, message)

    _title(console, "conversations", "what the SDK's session does not keep")
    _command(console, f"db.conversations.find({{_id: {session_id}}})")
    _document(console, found.conversation)

    _title(console, "indexes")
    for collection, indexes in found.indexes.items():
        _print(console, Text(collection))
        for index in indexes.values():
            _print(console, _index(index))

    _title(console, "next turn")
    size = f"{found.next_items:,} items, {found.next_bytes:,} bytes"
    _print(console, Text(f"{size} go to the model"))


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


def _command(console: Console, command: str) -> None:
    # Wrapped by the terminal, not by us: what is copied from two rows pastes as one line.
    console.print(Text(command, style="dim"), soft_wrap=True)


def _document(console: Console, document: Document | None) -> None:
    if document is None:
        _print(console, Text("none yet"))
        return
    for line in _lines("", document, "", ""):
        _print(console, line)


def _lines(name: str, value: Any, indent: str, end: str) -> Iterator[Text]:
    """`name: value` as mongosh writes it, `end` behind it; what it nests, line by line."""
    start = Text(indent + (f"{name}: " if name else ""))
    if isinstance(value, Mapping) and value:
        yield start.append("{")
        for left, (key, nested) in zip(reversed(range(len(value))), value.items(), strict=True):
            yield from _lines(_key(key), nested, indent + "  ", "," if left else "")
        yield Text(indent + "}" + end)
    elif isinstance(value, list) and value:
        yield start.append("[")
        for left, nested in zip(reversed(range(len(value))), value, strict=True):
            comma = "," if left else ""
            if name == "message_data":
                yield from _stored_item("", nested, indent + "  ", comma)
            else:
                yield from _lines("", nested, indent + "  ", comma)
        yield Text(indent + "]" + end)
    elif name == "message_data":  # as the SDK stored it up to 0.14: one item, no list
        yield from _stored_item(name, value, indent, end)
    else:
        yield start.append(*_scalar(value)).append(end)


def _stored_item(name: str, stored: Any, indent: str, end: str) -> Iterator[Text]:
    """A JSON string of message_data, and below it what it says."""
    line = Text(indent + (f"{name}: " if name else ""), "dim")
    yield line.append(_scalar(stored)[0] + end)
    kind, text = describe(stored)
    yield Text(indent + "└ ").append(kind, "bold cyan").append(f"  {text}")


def describe(stored: Any) -> tuple[str, str]:
    """What kind of item the SDK stored, such as `tool call`, and what it says, on one line."""
    try:
        kind, text = _kind(json.loads(stored))
        return kind, " ".join(clean(text).split())
    except (TypeError, ValueError, LookupError, AttributeError):
        return "unreadable", "the SDK will skip this item"


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


def _scalar(value: Any) -> tuple[str, str]:
    """How mongosh writes `value`, and the style to write it in."""
    if isinstance(value, str):
        return _quoted(value), "green"
    if value is None or isinstance(value, (bool, int, float, list, dict)):
        return json.dumps(value), "cyan"
    if isinstance(value, datetime):
        utc = value.astimezone(timezone.utc) if value.tzinfo else value
        return f'ISODate("{utc:%Y-%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03}Z")', "cyan"
    return f"{type(value).__name__}({_quoted(str(value))})", "cyan"


def _key(key: str) -> str:
    return key if key.isidentifier() else _quoted(key)


def _quoted(text: str) -> str:
    """`text` as a JavaScript string in which everything is visible."""
    quoted = json.dumps(text, ensure_ascii=False)
    if '"' in text:  # in single quotes, the JSON inside stays readable
        quoted = "'" + quoted[1:-1].replace('\\"', '"').replace("'", "\\'") + "'"
    return "".join(c if clean(c) == c else f"\\u{ord(c):04x}" for c in quoted)


def _index(index: Document) -> Text:
    keys = ", ".join(f"{_key(field)}: {json.dumps(order)}" for field, order in index["key"])
    return Text(f"  {{{keys}}}").append(" unique" if index.get("unique") else "", "bold")

"""/inspect: what MongoDB holds for one conversation, as mongosh shows it, with messages decoded."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple

from pymongo.asynchronous.collection import AsyncCollection
from rich.console import Console
from rich.pretty import pretty_repr
from rich.text import Text

from engine.conversation import Conversation
from engine.history import text_of, tokens_in
from engine.options import Limits
from engine.text import clean

Document = Mapping[str, Any]
LAST = 4  # of agent_messages: one turn with a handoff and a tool
LINE = 80  # columns: a longer document gets a line for each field
MARK = "\0"  # separates a stored value, its kind, and what it says
WAITS = "waits for a yes"
STRING = r"""([\"'])(\\.|(?!\1).)*\1"""
OTHER_VALUE = r"(?<=[ \[])(null|true|false|-?[\d.]+)(?=,?$|, |[\]}])|\b[A-Z]\w+(?=\()"


class Query(NamedTuple):
    """What to look up, and what to say about it."""

    collection: AsyncCollection[Any]
    about: str
    filter: Document
    projection: Document | None = None


class Found(NamedTuple):
    """One query and what it finds; documents and indexes are as pymongo returns them."""

    collection: str
    about: str
    query: Sequence[Document]  # the filter and, for some, the projection
    documents: Sequence[Document]
    indexes: Sequence[Document] = ()  # those that this filter can use
    sort: str = ""
    note: str = ""


async def read(conversation: Conversation, inspected: Sequence[Query] = ()) -> list[Found]:
    """Look up all that MongoDB holds for `conversation`, and what else is `inspected`."""
    of_session, stored = {"session_id": conversation.id}, conversation.collections
    session = await _find(Query(stored.sessions, "the SDK's session", of_session))
    generation = session.documents[0].get("_generation") if session.documents else None
    # The SDK asks so, too: its earlier versions stored messages without a generation.
    active = {**of_session, "generation": generation or {"$in": [0, None]}}
    messages = await _find(Query(stored.messages, "", active), last=LAST)
    total = await stored.messages.count_documents(active)
    history = await conversation.next_input()
    size = len(json.dumps(history, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    return [
        session,
        messages._replace(
            about=f"the last {LAST} of {total:,}" if total > LAST else f"{total} documents",
            note=f"The next turn sends {len(history):,} items to the model, {size:,} bytes, about "
            f"{tokens_in(history):,} tokens (at most {Limits.turns} turns are sent).",
        ),
        *[await _find(query) for query in inspected],
        await _find(Query(stored.records, "kept by the engine", {"_id": conversation.id})),
    ]


async def _find(query: Query, last: int = 0) -> Found:
    """What `query` finds; with `last`, only the last documents by their `seq`."""
    collection, about, filter, projection = query
    indexes = (await collection.index_information()).values()
    usable = [index for index in indexes if index["key"][0][0] in filter]
    cursor, sort = collection.find(filter, projection), ""
    if last:
        cursor, sort = cursor.sort("seq", -1).limit(last), ".sort({seq: 1})"
    documents = await cursor.to_list()
    asked = [filter] if projection is None else [filter, projection]
    documents = documents[::-1] if last else documents
    return Found(collection.name, about, asked, documents, usable, sort)


def draw(console: Console, everything: Sequence[Found]) -> None:
    """Print it. A value that is too long for the screen is cut; a command never is."""
    for found in everything:
        title = Text.assemble("── ", (found.collection, "bold"), f" ─ {found.about}")
        console.print()
        console.rule(title, style="", align="left")
        query = ", ".join(
            pretty_repr(_as_in_mongosh(each), max_width=10**6) for each in found.query
        )
        # The terminal wraps it, not we: then two rows are copied as one line.
        command = f"db.{found.collection}.find({query}){found.sort}"
        console.print(Text(command, style="dim"), soft_wrap=True)
        for index in found.indexes:
            console.print(_index(index))
        for document in found.documents:
            drawn = _drawn(document, console, min(console.width, LINE))
            console.print(drawn, no_wrap=True, overflow="ellipsis")
        if not found.documents:
            console.print("none yet")
        if found.note:
            console.print(Text(found.note, "dim"))


class _Written(str):
    """A text that `pretty_repr` prints as it is, without quotes."""

    def __repr__(self) -> str:
        return str(self)


def _as_in_mongosh(value: Any) -> Any:
    """Make of `value` what `pretty_repr` writes like mongosh, line breaks included."""
    if isinstance(value, Mapping):
        return {_Written(_key(key)): _as_in_mongosh(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_as_in_mongosh(each) for each in value]
    return _Written(_scalar(value))


def _decoded(document: Document) -> Document:
    """`document` with its JSON strings explained."""
    shown = dict(document)
    if stored := shown.get("message_data"):
        # Version 0.14 of the SDK stored a single item, not a list.
        items = stored if isinstance(stored, list) else [stored]
        told = [_explained(each) for each in items]
        shown["message_data"] = told if isinstance(stored, list) else told[0]
    if waiting := shown.get("pending"):
        call, state = waiting.get("call"), str(waiting.get("state"))
        size = len(state.encode("utf-8", "surrogatepass"))
        shown["pending"] = {
            **waiting,
            "call": _explained(call, WAITS, describe(call)[1]),
            "state": _Written(f"{size:,} bytes: the SDK's RunState"),
        }
    if inbox := shown.get("inbox"):
        shown["inbox"] = [{**each, "item": _explained(each["item"])} for each in inbox]
    return shown


def _explained(stored: Any, *meaning: str) -> _Written:
    """`stored` with its meaning, kind and text, which `_drawn` puts on the next line."""
    return _Written(MARK.join([_scalar(stored), *(meaning or describe(stored)), ""]))


def _drawn(document: Document, console: Console, width: int) -> Text:
    """`document` as mongosh writes it; below each JSON string, a line says what it means."""
    lines = []
    written = pretty_repr(_as_in_mongosh(_decoded(document)), max_width=width, indent_size=2)
    for line in written.split("\n"):
        parts = line.split(MARK)
        drawn = Text("".join(parts[::3]), "dim" if len(parts) > 1 else "")
        drawn.highlight_regex(OTHER_VALUE, "cyan")
        drawn.highlight_regex(STRING, "green")
        lines.append(drawn)
        indent = line[: len(line) - len(line.lstrip())]
        for kind, text in zip(parts[1::3], parts[2::3], strict=True):
            meaning = Text.assemble("└ ", (kind, "bold cyan"), "  ", text)
            whole = kind == WAITS  # what a yes would do must not be cut
            rows = meaning.wrap(console, width - len(indent) - 2) if whole else [meaning]
            for number, row in enumerate(rows):
                row.rstrip()
                lines.append(Text(indent + "  " * bool(number)) + row)
    return Text("\n").join(lines)


def describe(stored: Any) -> tuple[str, str]:
    """The kind of a stored item, such as `tool call`, and what it says, each on one line."""
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
        return "answer" if item["role"] == "assistant" else item["role"], _text(item["content"])
    if kind == "function_call" and item["name"].startswith("transfer_to_"):
        return "handoff", item["name"]
    if kind == "function_call":
        return "tool call", f"{item['name']}({item['arguments']})"
    if kind == "function_call_output":
        output = _text(item["output"])
        handoff = re.fullmatch(r'\{"assistant": ("[^"]*")\}', output)
        return ("handoff", f"to {json.loads(handoff[1])}") if handoff else ("tool output", output)
    if kind == "reasoning":
        return kind, _text(item["summary"]) or "without words, for the model alone"
    return kind, json.dumps(item, ensure_ascii=False)


def _text(content: Any) -> str:
    return text_of({"content": content})


def _scalar(value: Any) -> str:
    """How mongosh writes `value`."""
    if isinstance(value, _Written):
        return value
    if isinstance(value, str):
        return _quoted(value)
    if value is None or isinstance(value, (bool, int, float)):
        return json.dumps(value)
    if isinstance(value, datetime):
        utc = value.astimezone(timezone.utc) if value.tzinfo else value
        return f'ISODate("{utc:%Y-%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03}Z")'
    return f"{type(value).__name__}({_quoted(str(value))})"


def _key(key: str) -> str:
    return key if key.lstrip("$").isidentifier() else _quoted(key)


def _quoted(text: str) -> str:
    """`text` as a JavaScript string in which everything is visible."""
    quoted = json.dumps(text, ensure_ascii=False)
    if '"' in text:  # JSON is easier to read in single quotes
        quoted = "'" + quoted[1:-1].replace('\\"', '"').replace("'", "\\'") + "'"
    return "".join(c if clean(c) == c else f"\\u{ord(c):04x}" for c in quoted)


def _index(index: Document) -> Text:
    keys = ", ".join(f"{_key(field)}: {json.dumps(order)}" for field, order in index["key"])
    return Text(f"index {{{keys}}}", "dim").append(" unique" if index.get("unique") else "", "bold")

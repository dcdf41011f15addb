"""What must hold whatever happens to several terminals of one customer, checked on the database.

`Deed` is what one terminal did and was told. `Stored` is what MongoDB holds. Each check yields the
promises that are broken, in words that begin with the promise's name.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import inf
from typing import Any

from pymongo import timeout
from pymongo.errors import PyMongoError

from database import Database, Document
from tests.customer import names_in

# These may change without the lease: whose turn it is, and when it was last used.
VOLATILE = ("lease", "updated_at")


@dataclass
class Deed:
    """Times are in seconds of one clock. After `ended`, nothing of it may be written."""

    who: str
    what: str  # turn, retry, yes, no, reset, retention
    about: str  # the name of the question; empty for the last two
    began: float
    ended: float = inf
    result: str = "gone"  # see `Outcome`; gone: nobody heard how it ended
    told: str = ""
    approval: str = ""  # its id: of the question that was asked, or is decided

    @property
    def acknowledged(self) -> bool:
        return self.result in ("answered", "done")


@dataclass(frozen=True)
class Stored:
    messages: list[Document]
    session: Document | None
    conversation: Document | None
    returns: dict[str, str]  # order: reason

    @property
    def held(self) -> bool:
        """Whether some terminal has the lease."""
        return bool(((self.conversation or {}).get("lease") or {}).get("holder"))

    @property
    def pending(self) -> bool:
        return bool((self.conversation or {}).get("pending"))

    @property
    def items(self) -> list[dict[str, Any]]:
        """Everything that was said, in order."""
        documents = sorted(self.messages, key=lambda m: (m.get("generation") or 0, m["seq"]))
        return [json.loads(item) for document in documents for item in document["message_data"]]

    @property
    def asked(self) -> list[str]:
        return [n for i in self.items if i.get("role") == "user" for n in names_in(i["content"])]

    @property
    def answered(self) -> list[str]:
        return [answer_to(item) for item in self.items if item.get("role") == "assistant"]

    def lasting(self) -> tuple[Any, ...]:
        """All of it that only the holder of the lease may change."""
        kept = {k: v for k, v in (self.conversation or {}).items() if k not in VOLATILE}
        session = {k: v for k, v in (self.session or {}).items() if k not in VOLATILE}
        return self.messages, session, kept, self.returns


async def read(db: Database) -> Stored:
    returned = db.orders.find({"return": {"$ne": None}})
    return Stored(
        await db.agent_messages.find().sort("_id", 1).to_list(),
        await db.agent_sessions.find_one(),
        await db.conversations.find_one(),
        {order["_id"]: order["return"]["reason"] async for order in returned},
    )


def text_of(item: dict[str, Any]) -> str:
    content = item.get("content")
    return content if isinstance(content, str) else "".join(p["text"] for p in content or [])


def answer_to(item: dict[str, Any]) -> str:
    return next(iter(names_in(text_of(item))), "?")


def structure(stored: Stored) -> Iterator[str]:
    """Every turn stands in one piece: a question, its calls with their outputs, its answer."""
    taken: set[tuple[int, int]] = set()
    for message in stored.messages:
        size = len(message["message_data"])
        for seq in range(message["seq"] - size + 1, message["seq"] + 1):
            place = (message.get("generation") or 0, seq)
            if place in taken:
                yield f"seq: number {seq} is there twice"
            taken.add(place)
    current: list[str] = []
    answered: set[str] = set()
    calls: set[str] = set()
    outputs: set[str] = set()
    for item in stored.items:
        if item.get("role") == "user":
            names = names_in(item["content"])
            if answered & set(names) or current == names:
                yield f"doubled: {names} was asked again"
            current = names
        elif item.get("role") == "assistant":
            name = answer_to(item)
            if name in answered:
                yield f"doubled: {name} was answered twice"
            elif name not in current:
                yield f"order: the answer to {name} stands behind {current}"
            answered.add(name)
        elif call_id := item.get("call_id"):
            seen = calls if item["type"] == "function_call" else outputs
            if call_id in seen:
                yield f"pairs: {item['type']} of {call_id} twice"
            if seen is outputs and call_id not in calls:
                yield f"pairs: an output without its call, {call_id}"
            if call_id.split("_")[1] not in current:
                yield f"order: {call_id} stands behind {current}"
            seen.add(call_id)


def acknowledged(stored: Stored, deeds: Iterable[Deed]) -> Iterator[str]:
    """What was shown as done is done; what was forgotten is gone.

    A reset forgets a message if all that was done about it had ended when the reset began. A turn
    or a retry that was under way keeps it: the terminal holds it until MongoDB has accepted it. If
    the reset comes first, it is accepted as the first message of a new conversation, as its
    customer asked; so is one whose retry begins after the reset. Nobody but a living terminal can
    bring it back: what a dead one had sent adds nothing after a reset.
    """
    deeds = list(deeds)
    resets = [deed for deed in deeds if deed.what in ("reset", "retention")]
    about = {deed.about for deed in deeds if deed.about}
    for name in sorted(about):
        mine = [deed for deed in deeds if deed.about == name]
        began, ended = min(d.began for d in mine), max(d.ended for d in mine)
        excused = any(
            # Retention takes only what was idle when it began.
            (r.what == "reset" and r.ended >= began) or (r.what == "retention" and ended <= r.began)
            for r in resets
        )
        shown = f"Answer to [{name}]"
        if any(d.result == "answered" and shown in d.told for d in deeds) and not excused:
            for kind, there in (("question", stored.asked), ("answer", stored.answered)):
                if name not in there:
                    yield f"lost: {name} was answered, and its {kind} is not stored"
        forgotten = any(r.acknowledged and ended <= r.began for r in resets)
        if forgotten and name in {*stored.asked, *stored.answered}:
            yield f"forgotten: {name} is back after a reset"
    turns = [deed for deed in deeds if deed.what in ("turn", "retry")]
    # A retry may answer what another terminal has left without an answer since.
    own = [deed for deed in turns if deed.result == "answered" and f"[{deed.about}]" in deed.told]
    yield from _in_order(stored, own)


def _in_order(stored: Stored, deeds: list[Deed]) -> Iterator[str]:
    place = {name: number for number, name in enumerate(stored.asked)}
    for first in deeds:
        for second in deeds:
            if first.ended < second.began and first.about != second.about:
                one, two = place.get(first.about), place.get(second.about)
                if one is not None and two is not None and one > two:
                    yield f"order: {first.about} stands behind {second.about}, which came later"


def returns(stored: Stored, deeds: Iterable[Deed], history: list[Document]) -> Iterator[str]:
    """A return is made at most once, after its own yes, and never after a later no."""
    deeds = list(deeds)
    for order in history:
        times = [past["status"] for past in order["history"]].count("return initiated")
        if times != (order["_id"] in stored.returns):
            yield f"return: {order['_id']} was returned {times} times"
    for order_id, reason in stored.returns.items():
        (name,) = names_in(reason)
        decided = [d for d in deeds if d.about == name and d.what in ("yes", "no")]
        refused = {d.approval for d in decided if d.what == "no" and d.result == "answered"}
        open_to = [d for d in decided if d.what == "yes" and d.approval not in refused]
        if not any(not _closed(yes, deeds) for yes in open_to):
            yield f"return: {order_id} was returned, and no yes to {name} counted"
    for deed in deeds:
        for order in history:
            told = f"Return initiated for order {order['_id']}"
            if told in deed.told and order["_id"] not in stored.returns:
                yield f"return: {order['_id']} was announced as returned, and is not"


def _closed(yes: Deed, deeds: list[Deed]) -> bool:
    """Whether something else was said, and acknowledged, between the question and this yes."""
    asked = [d.ended for d in deeds if d.result == "asked" and d.approval == yes.approval]
    return bool(asked) and any(
        d.acknowledged
        and d.what in ("turn", "retry", "reset")
        and min(asked) < d.began
        # In between: it ended before the yes was given, and began after the question.
        and d.ended < yes.began
        for d in deeds
    )


async def left_open(db: Database) -> list[str]:
    """Whether an open transaction still locks a document, so that a write to it has to wait.

    A command that comes too late may open one, too. It finds nothing to change, so it locks
    nothing; the server ends it after a minute.
    """
    broken = []
    for name in ("conversations", "agent_sessions"):
        touched = {"$currentDate": {"updated_at": True}}
        try:
            with timeout(10):  # such a transaction would hold it for a minute
                await db[name].update_one({}, touched)
        except PyMongoError as error:
            broken.append(f"left open: a transaction locks {name}: {error}")
    return broken

"""The customer's session for one turn: it reads from memory, and writes through the fence."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from agents import TResponseInputItem
from agents.memory import Session, SessionABC

from database import Document
from engine.history import HISTORY_ITEMS, begins_turn, handed_to, transcript, window
from engine.lease import Lease


class FencedSession(SessionABC):
    """What the SDK is given in place of the MongoDBSession that it wraps.

    Nobody else writes while the lease is held, so `history` is read once. The agents get a window
    of it; each step that they finish is stored under the lease, together with what the step means
    for the conversation's document.
    """

    def __init__(self, session: Session, lease: Lease, history: list[Any], messages: int) -> None:
        self.session_id = session.session_id
        self.session_settings = session.session_settings
        self.history = history
        self._shown = window(history)  # to the model
        self._session = session
        self._lease = lease
        self.messages = messages
        # More fields of the conversation's document for the next write.
        self.fields: Document = {}

    @classmethod
    async def open(cls, session: Session, lease: Lease, stored: Document) -> FencedSession:
        """Read the history: the last items, and on to the customer's last message."""
        limit = HISTORY_ITEMS
        history = await stored_items(session, limit)
        while len(history) == limit and not any(map(begins_turn, history)):
            limit *= 8
            history = await stored_items(session, limit)
        messages = stored.get("messages")
        if messages is None:  # an earlier version did not count them
            everything = await stored_items(session) if len(history) == limit else history
            messages = len(transcript(everything))
        return cls(session, lease, history, messages)

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        return [item.copy() for item in self._shown[-limit if limit else None :]]

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        if not items:
            return
        fields = {**self.fields, "messages": self.messages + len(transcript(items))}
        if agent := handed_to(items):
            fields["active_agent"] = agent
        await self._lease.commit(lambda: self._session.add_items(items), **fields)
        self.messages = fields["messages"]
        self.fields = {}
        self.history += items
        self._shown += items

    async def pop_item(self) -> TResponseInputItem | None:
        raise NotImplementedError("The engine takes nothing back from the history.")

    async def clear_session(self) -> None:
        raise NotImplementedError("Conversation.erase does it.")


async def stored_items(session: Session, limit: int | None = None) -> list[Any]:
    """The last `limit` items, oldest first; what is no item at all is left out."""
    return [item for item in await session.get_items(limit) if isinstance(item, dict)]


def session_id_for(email: str) -> str:
    """`alice@example.com` -> `support_alice_at_example_com`, and no two emails get the same id.

    The plain form is used if it can be read back: lower-case letters, digits and hyphens, with
    no label `at` (x.at.y@z and x@y.at.z would meet). All others get a hash behind a full stop,
    which no plain form has.
    """
    slug = email.replace("@", "_at_").replace(".", "_")
    labels = re.split(r"[.@]", email)
    if email.count("@") == 1 and all(
        re.fullmatch(r"[a-z0-9-]+", label) and label != "at" for label in labels
    ):
        return f"support_{slug}"
    digest = hashlib.sha256(email.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"support_{re.sub(r'[^A-Za-z0-9_-]', '-', slug)[:64]}.{digest}"

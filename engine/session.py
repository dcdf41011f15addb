"""The customer's session as the agents get it: read from memory, written through the fence."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from agents import TResponseInputItem
from agents.memory import Session, SessionABC

from database import Document
from engine.history import HISTORY_ITEMS, begins_turn, ends_turn, handed_to, transcript, window
from engine.lease import Lease, finished


class FencedSession(SessionABC):
    """What the SDK is given in place of the MongoDBSession that it wraps.

    Nobody else writes while the lease is held, so the agents get a window of the history that
    `load` has read. Each step that they finish is stored under the lease, together with what the
    step means for the conversation's document.
    """

    def __init__(self, session: Session, lease: Lease) -> None:
        self.session_id = session.session_id
        self.session_settings = session.session_settings
        self.history: list[Any] = []  # the end of it
        self.messages = 0  # said in all
        self.fields: Document = {}  # of the conversation's document, for the next write
        self._session = session
        self._lease = lease
        self._shown: list[Any] = []  # to the model
        self._version: tuple[Any, int, int] = None, -1, -1  # see `_stored_version`; of `history`

    async def load(self, conversation: Document) -> None:
        """Read the last items, and on to the customer's last message.

        They are read again only if the SDK's counters say that somebody else has written since.
        (Its pop_item counts nothing: a chat that is open does not see it.)
        """
        version = await self._stored_version()
        if version != self._version:
            limit = HISTORY_ITEMS
            self.history = await self.stored(limit)
            while len(self.history) == limit and not any(map(begins_turn, self.history)):
                limit *= 8
                self.history = await self.stored(limit)
        recent = self.history[-HISTORY_ITEMS:]
        self.history = recent if any(map(begins_turn, recent)) else self.history
        self._version, self._shown, self.fields = version, window(self.history), {}
        self.messages = conversation.get("messages", -1)
        if self.messages < 0:  # a new conversation, or an earlier version, which did not count
            known = len(self.history) < HISTORY_ITEMS
            self.messages = len(transcript(self.history if known else await self.stored()))

    async def stored(self, limit: int | None = None) -> list[Any]:
        """The last `limit` items in MongoDB, oldest first; what is no item at all is left out."""
        return [i for i in await self._session.get_items(limit) if isinstance(i, dict)]

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        return [item.copy() for item in self._shown[-limit if limit else None :]]

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        if items:
            await finished(self._add(items))  # also if the SDK's run is cancelled meanwhile

    async def _add(self, items: list[TResponseInputItem]) -> None:
        fields = {**self.fields, "messages": self.messages + len(transcript(items))}
        if agent := handed_to(self.history + items):  # a question can come between call and output
            fields["active_agent"] = agent
        await self._lease.commit(
            lambda: self._session.add_items(items), last=ends_turn(items), **fields
        )
        self.messages, self.fields = fields["messages"], {}
        self.history += items
        self._shown += items
        document, generation, count = self._version
        self._version = document, generation, count + len(items)

    async def _stored_version(self) -> tuple[Any, int, int]:
        """The SDK's counters of generations and items, and the document in which it counts them:
        after a reset, it counts anew in another one."""
        of_session = {"session_id": self.session_id}
        found = await self._lease.db.agent_sessions.find_one(of_session) or {}
        return found.get("_id"), found.get("_generation", 0), found.get("_seq", 0)

    async def pop_item(self) -> TResponseInputItem | None:
        raise NotImplementedError("The engine takes nothing back from the history.")

    async def clear_session(self) -> None:
        raise NotImplementedError("Conversation.erase does it.")


def session_id_for(email: str) -> str:
    """`alice@example.com` -> `support_alice_at_example_com`, and no two emails get the same id.

    The plain form is used if it can be read back: lower-case letters, digits and hyphens, with
    no label `at` (x.at.y@z and x@y.at.z would be one). All others get a hash behind a full stop,
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

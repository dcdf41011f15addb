"""A customer at a terminal, for tests that look for what goes wrong between several of them.

Every question carries a name, such as `hello [A1]`, and the model answers it by that name, so that
what is stored tells which answer belongs to which question. The model answers at once, hands off,
uses tools, and refuses what the real vendor's server refuses.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from agents.testing import ModelCall, ModelStep, assistant_message, function_call
from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError

import main
from database import Database, Document
from engine.conversation import Conversation
from engine.events import ApprovalNeeded, Event, Stopped, Text, TurnFailed
from engine.options import Limits
from engine.retention import remove_idle
from seed_data import CUSTOMERS, orders, seed
from tests.builders import Answering
from tests.model_server import Refused, check_responses

TODAY = datetime(2026, 11, 22, tzinfo=timezone.utc)
ALICE = CUSTOMERS[0]
ORDERS = tuple(f"ORD-{number}" for number in range(2001, 2061))  # hers, and returnable


async def open_shop(db: Database) -> None:
    """The demo's documents, and `ORDERS`."""
    await seed(db, TODAY)
    delivered = orders(TODAY)[0]
    await db.orders.insert_many([{**delivered, "_id": order} for order in ORDERS])


@dataclass
class Clerk(Answering):
    """Answers by the words of the last message: `hello`, `look at ORD-…` or `return ORD-…`."""

    failing: bool = False
    seconds: float = 0.0  # before each answer
    refused: list[str] = field(default_factory=list)  # what the vendor's server would not take

    async def respond(self, call: ModelCall) -> ModelStep:
        await asyncio.sleep(self.seconds)
        if self.failing:
            raise RuntimeError("the model is down")
        try:
            check_responses({"model": "any", "input": call.input}, {})
        except Refused as refusal:
            self.refused.append(refusal.message)
            raise
        return ModelStep(output=[_answer(call)])


def _answer(call: ModelCall) -> Any:
    asked = max(n for n, item in enumerate(call.input) if item.get("role") == "user")
    text = str(call.input[asked]["content"])
    name = names_in(text)[-1]
    *_, request = re.findall(r"(hello|look|return)(?: at)? ?(ORD-\d+)?", text)
    done = {item["name"] for item in call.input[asked:] if item.get("type") == "function_call"}
    outputs = [str(item["output"]) for item in call.input[asked:] if "output" in item]
    wanted: tuple[str, dict[str, str]] | None = None
    if request[0] != "hello":
        arguments = {"order_id": request[1]}
        wanted = ("get_order", arguments)
        if request[0] == "return":
            wanted = ("initiate_return", arguments | {"reason": f"asked in [{name}]"})
        if wanted[0] not in {tool.name for tool in call.tools}:
            wanted = ("transfer_to_orders", {})
    unique = uuid.uuid4().hex[:12]
    if wanted and wanted[0] not in done:
        # The call's id names the question, so that a call in another's turn is seen.
        return function_call(*wanted, call_id=f"call_{name}_{unique}", item_id=f"fc_{unique}")
    about = f": {outputs[-1].splitlines()[0]}" if outputs else "."
    return assistant_message(f"Answer to [{name}]{about}", item_id=f"msg_{unique}")


def names_in(text: str) -> list[str]:
    """The names of the questions in a stored text: `hello [A1]` -> `A1`."""
    return re.findall(r"\[(\w+)\]", text)


@dataclass(frozen=True)
class Outcome:
    """How one thing that the customer did ended, as seen at the terminal."""

    result: str  # answered, asked, stopped, failed, done or nothing; tests/player.py has more
    told: str = ""
    approval: ApprovalNeeded | None = None


@dataclass
class Terminal:
    """One login of Alice's."""

    client: AsyncMongoClient[Document]
    database: str
    clerk: Clerk
    limits: Limits = field(default_factory=Limits)
    approval: ApprovalNeeded | None = None
    conversation: Conversation = field(init=False)

    async def open(self) -> None:
        options: Any = {"database": self.database, "now": lambda: TODAY, "limits": self.limits}
        opened = await main.open_conversation(self.client, ALICE, self.clerk, **options)
        self.conversation = opened

    async def do(self, what: str, text: str = "") -> Outcome:
        """`turn`, `resume`, `retry`, `yes`, `no`, `reset` or `retention`, as main.py does it."""
        try:
            if what == "reset":
                await self.conversation.erase()
                return Outcome("done")
            if what == "retention":
                records = self.client[self.database].conversations
                removed = await remove_idle(records, 0, lease_seconds=self.limits.lease_seconds)
                return Outcome("done" if removed else "nothing")
            return await self._hear(self._start(what, text))
        except TurnFailed as error:
            return Outcome("failed", str(error))
        except PyMongoError as error:
            if what not in ("reset", "retention"):  # a turn tells it as TurnFailed
                raise
            return Outcome("failed", repr(error))

    def _start(self, what: str, text: str) -> AsyncIterator[Event]:
        if what in ("yes", "no"):
            approval, self.approval = self.approval, None
            assert approval
            return self.conversation.decide(approval, what == "yes")
        if what == "turn":
            return self.conversation.turn(text)
        return self.conversation.retry() if what == "retry" else self.conversation.resume()

    async def _hear(self, stream: AsyncIterator[Event]) -> Outcome:
        told, last = "", None
        async for last in stream:
            told += last.delta if isinstance(last, Text) else ""
        if isinstance(last, ApprovalNeeded):
            self.approval = last
            return Outcome("asked", told, last)
        if isinstance(last, Stopped):
            return Outcome("stopped", told)
        return Outcome("answered" if "Answer to" in told else "nothing", told)

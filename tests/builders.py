"""Turns without a screen: what a scripted model says, what a stream told, what is stored.

`Visits` is what a builder does with the engine: agents of their own, one conversation, no shop. It
opens the conversation anew for each stream, as a new process would.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from agents import Agent, Model, ModelResponse, RunConfig
from agents.extensions.memory import MongoDBSession
from agents.items import TResponseStreamEvent
from agents.testing import ModelCall, ModelStep, ScriptedModel, assistant_message, function_call
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseOutputItemAddedEvent,
    ResponseOutputItemDoneEvent,
    ResponseTextDeltaEvent,
)
from pymongo import AsyncMongoClient

from engine import ApprovalNeeded, Conversation, Event, Text, TurnFailed
from engine.events import HandedOff, Settled, ToolStarted

SESSION, OWNER = "visit-1", "somebody"
RETURN = {"order_id": "ORD-1001", "reason": "Not powerful enough"}
Open = Callable[..., Any]


def say(text: str) -> list[Any]:
    return [assistant_message(text)]


def call(name: str, call_id: str = "call_1", **arguments: Any) -> list[Any]:
    return [function_call(name, arguments, call_id=call_id)]


def return_1001(call_id: str = "call_1") -> list[Any]:
    return call("initiate_return", call_id, **RETURN)


class Answering(Model):
    """Answers each request as `respond` says, however many there are."""

    async def respond(self, call: ModelCall) -> ModelStep:
        raise NotImplementedError

    async def get_response(self, *args: Any, **kwargs: Any) -> ModelResponse:
        return await self._step().get_response(*args, **kwargs)

    async def stream_response(
        self, *args: Any, **kwargs: Any
    ) -> AsyncIterator[TResponseStreamEvent]:
        async for event in self._step().stream_response(*args, **kwargs):
            yield event

    def _step(self) -> ScriptedModel:
        return ScriptedModel([ModelStep.respond(self.respond)])


async def events(stream: AsyncIterator[Event]) -> list[Event]:
    return [event async for event in stream]


def text_of(seen: list[Event]) -> str:
    return "".join(event.delta for event in seen if isinstance(event, Text))


def told(seen: list[Event], kind: type[Event]) -> list[Any]:
    return [event for event in seen if isinstance(event, kind)]


def asked(seen: list[Event]) -> ApprovalNeeded:
    """The approval that this turn ends with."""
    assert isinstance(seen[-1], ApprovalNeeded), seen
    return seen[-1]


async def approval_of(stream: AsyncIterator[Event]) -> ApprovalNeeded:
    return asked(await events(stream))


async def answer_of(stream: AsyncIterator[Event]) -> str:
    return text_of(await events(stream))


async def returning(open_conversation: Open, *more: Any, **options: Any) -> tuple[Any, Any]:
    """A conversation that asks whether to return ORD-1001, and its question; then comes `more`."""
    script = [call("transfer_to_orders", "call_0"), return_1001(), *more]
    conversation = await open_conversation(ScriptedModel(script), **options)
    return conversation, await approval_of(conversation.turn("return it"))


async def said(conversation: Conversation) -> list[str]:
    """All that the two sides have said."""
    return [message.text for message in await conversation.transcript()]


def settled(seen: list[Event]) -> list[tuple[bool, str]]:
    return [(event.done, event.text) for event in told(seen, Settled)]


def path(seen: list[Event]) -> list[str]:
    """Which agents took over and which tools were called, in order."""
    return [
        event.agent if isinstance(event, HandedOff) else event.tool
        for event in seen
        if isinstance(event, (HandedOff, ToolStarted))
    ]


async def stored_items(
    db: Any, messages_collection: str = "agent_messages", **_: str
) -> list[dict[str, Any]]:
    """What the history holds, oldest first."""
    documents = await db[messages_collection].find().sort("seq", 1).to_list()
    return [json.loads(item) for each in documents for item in each["message_data"]]


@dataclass
class Visits:
    """One conversation in a database of its own; `options` are those of `Conversation.open`."""

    client: AsyncMongoClient[dict[str, Any]]
    options: dict[str, Any] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)  # of the session's collections
    session: type[MongoDBSession] = MongoDBSession
    database: str = field(default_factory=lambda: f"test_{uuid.uuid4().hex}")
    conversation: Any = None  # the one that was opened last
    model: Any = None  # its model

    @property
    def db(self) -> Any:
        return self.client[self.database]

    @property
    def sent(self) -> list[Any]:
        """What the model was sent last."""
        sent: list[Any] = self.model.last_call.input
        return sent

    async def open(self, agent: Agent[Any], *replies: Any, **options: Any) -> Conversation:
        """`replies` are a model, or what one answers; without any, the agent's own is asked."""
        self.model = next(iter(replies), None)
        if not isinstance(self.model, Model):
            self.model = ScriptedModel(replies)
        config = {"run_config": RunConfig(model=self.model)} if replies else {}
        session = self.session(SESSION, client=self.client, database=self.database, **self.names)
        settings = {"owner": OWNER, "agent": agent, **config, **self.options, **options}
        conversation = self.conversation = await Conversation.open(session, **settings)
        return conversation

    async def turn(
        self, agent: Agent[Any], message: Any, *replies: Any, **options: Any
    ) -> list[Any]:
        """The events of one turn; the model answers with `replies`."""
        conversation = await self.open(agent, ScriptedModel(replies), **options)
        return await events(conversation.turn(message))

    async def fails(
        self, agent: Agent[Any], message: Any, *replies: Any, **options: Any
    ) -> TurnFailed:
        """How a turn fails."""
        return await failure_of((await self.open(agent, *replies, **options)).turn(message))

    async def resume(self, agent: Agent[Any], *replies: Any, **options: Any) -> list[Any]:
        conversation = await self.open(agent, ScriptedModel(replies), **options)
        return await events(conversation.resume())

    async def retry(self, agent: Agent[Any], *replies: Any, **options: Any) -> list[Any]:
        conversation = await self.open(agent, ScriptedModel(replies), **options)
        return await events(conversation.retry())

    async def decide(
        self, agent: Agent[Any], needed: ApprovalNeeded, yes: bool, *replies: Any, **options: Any
    ) -> list[Any]:
        conversation = await self.open(agent, ScriptedModel(replies), **options)
        return await events(conversation.decide(needed, yes))

    async def record(self) -> dict[str, Any]:
        found: dict[str, Any] = await self.db.conversations.find_one({"_id": SESSION})
        return found

    async def items(self) -> list[dict[str, Any]]:
        """What the history holds, oldest first."""
        return await stored_items(self.db, **self.names)

    async def users(self) -> list[str]:
        """The messages of the customer in the history."""
        return [item["content"] for item in await self.items() if item.get("role") == "user"]

    async def is_free(self) -> bool:
        return (await self.record())["lease"] is None

    async def calls_without_output(self) -> list[str]:
        items = await self.items()
        outputs = {item.get("call_id") for item in items if "output" in str(item.get("type"))}
        calls = [item for item in items if item.get("type") == "function_call"]
        return [item["name"] for item in calls if item["call_id"] not in outputs]


async def failure_of(stream: AsyncIterator[Event]) -> TurnFailed:
    """What the stream raises, at its end."""
    try:
        seen = await events(stream)
    except TurnFailed as failed:
        return failed
    raise AssertionError(f"it did not fail: {seen}")


def delta(text: Any, index: int = 0) -> ResponseTextDeltaEvent:
    return ResponseTextDeltaEvent.model_construct(
        type="response.output_text.delta", delta=text, output_index=index, sequence_number=0
    )


def whole(item: Any, index: int = 0) -> list[Any]:
    """The events of an output item that comes in one piece: its begin and its end."""
    begin, end = "response.output_item.added", "response.output_item.done"
    return [
        ResponseOutputItemAddedEvent.model_construct(type=begin, item=item, output_index=index),
        *([delta(item.content[0].text, index)] if item.type == "message" else []),
        ResponseOutputItemDoneEvent.model_construct(type=end, item=item, output_index=index),
    ]


def hosted(*output: Any) -> ModelStep:
    """A response with items of hosted tools, which ScriptedModel does not stream by itself."""
    stream = [event for index, item in enumerate(output) for event in whole(item, index)]
    response = Response.model_construct(id="resp_1", output=list(output), usage=None)
    completed: Any = {"type": "response.completed", "response": response}
    stream.append(ResponseCompletedEvent.model_construct(**completed))
    return ModelStep.stream(stream, output=output)

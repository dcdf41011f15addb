"""One customer's conversation: a turn as a stream of events, kept in MongoDB between turns.

The SDK's session keeps the messages. What it does not keep is in `conversations`: which agent
answers next, a pending approval, and the lease by which turns queue. Nothing here knows of
terminals: the chat, the evals and the tests all drive this class.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import re
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple, cast

import openai
from agents import (
    Agent,
    Model,
    ModelSettings,
    RunConfig,
    RunErrorHandlerInput,
    Runner,
    RunResultStreaming,
    RunState,
    SessionSettings,
    TResponseInputItem,
    trace,
)
from agents.extensions.memory import MongoDBSession
from agents.items import ToolApprovalItem, ToolCallItem, ToolCallOutputItem
from agents.run import CallModelData, ModelInputData
from pymongo.errors import OperationFailure, PyMongoError

from database import Database, Document
from engine.events import (
    ApprovalNeeded,
    Event,
    HandedOff,
    Notice,
    Refusal,
    Stopped,
    Text,
    ToolStarted,
    TurnFailed,
    Waiting,
)
from engine.lease import Lease, LeasedSession, LeaseLost
from engine.text import clean

MAX_MESSAGE = 4_000  # characters
MAX_MODEL_CALLS = 10  # in one turn
RUN_SECONDS = 300.0  # for these calls and the tools between; a tool that runs is let finish
HISTORY_TURNS = 20  # what the model sees: this many whole turns ...
HISTORY_ITEMS = 100  # ... out of this many stored items; MongoDB's first batch holds 101
POLL_SECONDS = 0.25
NOTHING_TO_RETRY = "No message waits for an answer: there is nothing to retry."
DELTAS = ("response.output_text.delta", "response.refusal.delta")

# What to ask the customer before a tool runs, from the context, its name and its arguments;
# raises Refusal where the tool would refuse.
Question = Callable[[Any, str, Mapping[str, Any]], Awaitable[str]]


class Message(NamedTuple):
    """One line of the transcript; `role` is `user` or `assistant`."""

    role: str
    text: str


class Conversation:
    """Open it with `Conversation.open`; then one of its generators at a time."""

    def __init__(
        self,
        session: MongoDBSession,
        db: Database,
        email: str,
        agent: Agent[Any],
        context: Any,
        question: Question,
        run_config: RunConfig,
    ) -> None:
        self.id = session.session_id
        self.pending = False  # whether an approval waited when it was opened: see `resume`
        self.unanswered: str | None = None  # the last message, where it has no answer yet
        self.last_active: datetime | None = None  # UTC; None for a new conversation
        self._session = session
        self._lease = Lease(db, session.session_id, email)
        self._db = db
        self._agents = _reachable(agent)
        self._agent = agent
        self._active = ""  # the name of the agent that answers next
        self._context = context
        self._question = question
        self._run_config = run_config
        self._acquiring: asyncio.Task[Document | None] | None = None
        self._result: RunResultStreaming | None = None
        self._tools_running: set[str | None] = set()  # by the ids of their calls
        self._stored = False  # whether `unanswered` is in the history, or waits for an approval
        self._said = False  # whether this turn has shown any words
        self._stopping = False
        self._late = False  # whether RUN_SECONDS are over
        self._outcome = ""  # of a tool that was approved, for where no answer tells it

    @classmethod
    async def open(
        cls,
        session: MongoDBSession,
        *,
        db: Database,
        email: str,
        agent: Agent[Any],
        context: Any,
        question: Question,
        model: Model,
        model_settings: ModelSettings | None = None,
    ) -> Conversation:
        """Take up the conversation stored for `session`, or a new one.

        `agent` answers first; the others are reached through its handoffs. Raises TurnFailed
        where the stored conversation belongs to another email.
        """
        run_config = RunConfig(
            model=model,
            model_settings=model_settings,
            session_settings=SessionSettings(limit=HISTORY_ITEMS),
            call_model_input_filter=_sendable,
            tool_not_found_behavior="return_error_to_model",
        )
        self = cls(session, db, email, agent, context, question, run_config)
        stored = await db.conversations.find_one({"_id": self.id})
        if stored and stored["email"] != email:
            raise TurnFailed(f"This conversation belongs to another address than {email}.")
        if stored:
            self.last_active = stored["updated_at"]
            self.pending = bool(stored.get("pending"))
        history = await session.get_items(HISTORY_ITEMS)
        if history and not _is_answer(history[-1]):
            self.unanswered, self._stored = _last_user_text(history), True
        return self

    def turn(self, message: str) -> AsyncGenerator[Event, None]:
        """Answer `message`. Raises TurnFailed; the message is then stored, or kept for `retry`."""
        if len(message) > MAX_MESSAGE:
            raise TurnFailed(
                f"That message has {len(message):,} characters; {MAX_MESSAGE:,} is the most."
            )
        message = clean(message).strip()
        if not message:
            raise TurnFailed("There was nothing to read in that message.")
        self.unanswered, self._stored = message, False
        return self._exclusively(lambda stored: self._begin(stored, message))

    def retry(self) -> AsyncGenerator[Event, None]:
        """Answer the last message again, without storing it twice."""
        if self.unanswered is None:
            raise TurnFailed(NOTHING_TO_RETRY)
        return self._exclusively(self._again)

    def resume(self) -> AsyncGenerator[Event, None]:
        """Ask for an approval that is still pending; no event where none is."""
        return self._exclusively(lambda stored: self._begin(stored, None))

    def decide(self, approval: ApprovalNeeded, yes: bool) -> AsyncGenerator[Event, None]:
        """Go on after the customer's decision. Of several decisions on one approval, one counts."""
        return self._exclusively(lambda stored: self._decided(stored, approval, yes))

    def stop(self) -> None:
        """Stop the answer under way. A tool that runs is let finish, and is stored."""
        self._stopping = True
        if self._acquiring:
            self._acquiring.cancel()
        self._cancel()

    def _expire(self) -> None:
        if self._result and self._result.final_output is None:
            self._late = True
            self._cancel()

    def _cancel(self) -> None:
        if self._result:
            self._result.cancel("after_turn" if self._tools_running else "immediate")

    async def transcript(self) -> list[Message]:
        """All that was said, oldest first, without tool calls and handoffs."""
        items = await self._session.get_items(None)
        messages = [Message(str(item.get("role")), _text(item)) for item in items]
        return [m for m in messages if m.role in ("user", "assistant") and m.text]

    async def next_input(self) -> list[TResponseInputItem]:
        """The history that the next turn would send to the model."""
        return recent_turns(await self._session.get_items(HISTORY_ITEMS))

    async def erase(self) -> None:
        """Delete every document of this conversation; waits for a turn under way elsewhere."""
        while await self._lease.acquire() is None:
            await asyncio.sleep(POLL_SECONDS)
        async with self._lease.kept():
            # First of all: what a crash leaves must not ask about what is forgotten.
            await self._lease.update(pending=None, active_agent="")
            await _erase(self._db, self.id)
        self.unanswered = self.last_active = None

    async def _exclusively(
        self, start: Callable[[Document], AsyncGenerator[Event, None]]
    ) -> AsyncGenerator[Event, None]:
        """Run `start` under the lease; turn whatever goes wrong into a TurnFailed."""
        self._stopping = self._said = False
        self._result, self._outcome = None, ""
        try:
            stored = await self._acquire()
            if stored is None and not self._stopping:
                yield Waiting()
            while stored is None and not self._stopping:
                await asyncio.sleep(POLL_SECONDS)
                stored = await self._acquire()
            if stored is None:
                yield Stopped()
                return
            async with self._lease.kept():
                if self._stopping:
                    yield Stopped()
                    return
                self._active = stored.get("active_agent", "")
                async with contextlib.aclosing(start(stored)) as events:
                    async for event in events:
                        yield event
        except TurnFailed:
            raise
        except Exception as error:
            raise TurnFailed(f"{self._outcome} {_explain(error, self._said)}".strip()) from error

    async def _acquire(self) -> Document | None:
        """The lease, or None; `stop` need not wait for a MongoDB that does not answer."""
        acquiring = self._acquiring = asyncio.create_task(self._lease.acquire())
        try:
            await asyncio.wait({acquiring})
            return None if acquiring.cancelled() else acquiring.result()
        finally:
            acquiring.cancel()

    async def _again(self, stored: Document) -> AsyncGenerator[Event, None]:
        if self._stored and _has_answer(await self.next_input(), self.unanswered):
            self.unanswered = None  # another terminal was faster
            raise TurnFailed(NOTHING_TO_RETRY)
        # Where an approval is pending, it is the answer to the last message.
        message = None if self._stored and stored.get("pending") else self.unanswered
        async with contextlib.aclosing(self._begin(stored, message)) as events:
            async for event in events:
                yield event

    async def _begin(self, stored: Document, message: str | None) -> AsyncGenerator[Event, None]:
        state = None
        if pending := stored.get("pending"):
            try:
                state = await self._restore(pending)
            except Exception:  # another version of the SDK or of the agents wrote it
                yield Notice("An earlier question can no longer be answered; please ask again.")
            unsent = pending.get("unsent")
            if message and unsent and message != unsent:
                message = f"{unsent}\n\n{message}"
            message = message or unsent
            if state and (question := await self._ask(state)):
                if message != unsent:
                    await self._lease.update(**{"pending.unsent": message})
                    self.unanswered, self._stored = message, True
                    yield Notice("Your message comes next. First, what is still open:")
                yield ApprovalNeeded(pending["id"], question)
                return
            await self._lease.update(pending=None)
        if not (state or message):
            return
        step = self._go_on(state, message) if state else self._answer(message or "")
        async with contextlib.aclosing(step) as events:
            async for event in events:
                yield event

    async def _decided(
        self, stored: Document, approval: ApprovalNeeded, yes: bool
    ) -> AsyncGenerator[Event, None]:
        pending = stored.get("pending")
        if not pending or pending["id"] != approval.id:
            self.unanswered = None
            raise TurnFailed("That question was already answered elsewhere, or forgotten.")
        state = await self._restore(pending)
        item = state.get_interruptions()[0]
        if yes:
            state.approve(item)
        else:
            state.reject(item, rejection_message="The customer said no, so it was not done.")
        # Before anything runs: a crash from here on loses the yes, and never uses it twice.
        await self._lease.update(pending=None)
        async with contextlib.aclosing(self._go_on(state, pending.get("unsent"))) as events:
            async for event in events:
                yield event

    async def _go_on(self, state: RunState[Any], unsent: str | None) -> AsyncGenerator[Event, None]:
        """Run a state that is decided, then answer the message that waited for the decision."""
        if unsent:
            self.unanswered, self._stored = unsent, False
        last: Event | None = None
        async with contextlib.aclosing(self._run(_agent_of(state), state, unsent)) as events:
            async for event in events:
                yield (last := event)
        if unsent and not isinstance(last, (ApprovalNeeded, Stopped)):
            yield Notice("Now to your message: " + " ".join(unsent.split()))
            async with contextlib.aclosing(self._answer(unsent)) as events:
                async for event in events:
                    yield event

    async def _answer(self, message: str) -> AsyncGenerator[Event, None]:
        self.unanswered = message  # again: what ran before may have answered an older one
        agent = self._agents.get(self._active, self._agent)
        item: TResponseInputItem = {"role": "user", "content": message}
        async with contextlib.aclosing(self._run(agent, [item])) as events:
            async for event in events:
                yield event

    async def _restore(self, pending: Document) -> RunState[Any]:
        return await RunState.from_string(
            self._agent, pending["state"], context_override=self._context
        )

    async def _ask(self, state: RunState[Any]) -> str | None:
        """The question that `state` stands at; None where what it asks for is refused in it."""
        item = state.get_interruptions()[0]
        try:
            return await self._question(self._context, item.name or "", _arguments(item))
        except Refusal as refusal:
            state.reject(item, rejection_message=str(refusal))
            return None

    async def _suspend(
        self, state: RunState[Any], question: str, unsent: str | None
    ) -> ApprovalNeeded:
        """Store `state` until the customer decides, here or after another login."""
        approval = ApprovalNeeded(uuid.uuid4().hex, question)
        saved = state.to_string(context_serializer=lambda _: {})
        await self._lease.update(pending={"id": approval.id, "state": saved, "unsent": unsent})
        return approval

    async def _run(
        self,
        agent: Agent[Any],
        run_input: list[TResponseInputItem] | RunState[Any],
        unsent: str | None = None,
    ) -> AsyncGenerator[Event, None]:
        """Let the agents work until there is an answer, or a question for the customer."""
        history = await self.next_input()
        if isinstance(run_input, list) and _awaits(history, run_input[-1]):
            run_input = []  # a retry: the message is stored
        session = LeasedSession(self._session, self._lease, history)
        while True:
            # A decided tool starts without an event of its own, whenever a stop comes.
            resumed = run_input.get_interruptions() if isinstance(run_input, RunState) else []
            self._tools_running = {item.call_id for item in resumed}
            if self._stopping and not resumed:
                yield Stopped()
                return
            self._late = False
            with trace("Customer Support", group_id=self.id):
                result = self._result = Runner.run_streamed(
                    agent,
                    run_input,
                    context=self._context,
                    session=session,
                    run_config=self._run_config,
                    max_turns=MAX_MODEL_CALLS,
                    error_handlers={"max_turns": _too_many_steps, "model_refusal": _refused},
                )
                if self._stopping:
                    self._cancel()
                # One timer: ModelSettings.timeout costs a task for each piece of an answer.
                timer = asyncio.get_running_loop().call_later(RUN_SECONDS, self._expire)
                try:
                    async with contextlib.aclosing(self._events(result, agent)) as events:
                        async for event in events:
                            yield event
                finally:
                    timer.cancel()
                    self._stored = bool(history) and not _is_answer(history[-1])
                    # Where nobody listens any more, the SDK would go on by itself; once it is
                    # cancelled, it calls itself complete and still writes.
                    if (task := result.run_loop_task) and not task.done():
                        if not result.is_complete:
                            result.cancel()
                        await asyncio.wait({task})
            if result.final_output is not None:
                self.unanswered = None
            if self._stopping:
                if self._outcome:
                    yield Notice(self._outcome)
                yield Stopped()
                return
            if not result.interruptions:
                return
            run_input, agent = result.to_state(), result.last_agent
            if question := await self._ask(run_input):
                yield await self._suspend(run_input, question, unsent)
                return

    async def _events(
        self, result: RunResultStreaming, agent: Agent[Any]
    ) -> AsyncGenerator[Event, None]:
        """The SDK's stream as ours."""
        said, streamed, message = False, 0, None  # messages that came in pieces; the one that does
        approved = set(self._tools_running)
        async for event in result.stream_events():
            if event.type == "agent_updated_stream_event":
                if event.new_agent.name != agent.name:
                    agent, self._active = event.new_agent, event.new_agent.name
                    await self._lease.update(active_agent=agent.name)
                    yield HandedOff(agent.name)
            elif event.type == "raw_response_event":
                if event.data.type in DELTAS and (delta := getattr(event.data, "delta", "")):
                    index = getattr(event.data, "output_index", 0)
                    if index != message:
                        message, streamed, delta = index, streamed + 1, self._apart(delta)
                    said = True
                    yield Text(delta)
            elif event.name == "tool_called" and isinstance(event.item, ToolCallItem):
                self._tools_running.add(event.item.call_id)
                yield ToolStarted(event.item.tool_name or "a tool")
            elif isinstance(event.item, ToolCallOutputItem):
                if event.item.call_id in approved:
                    self._outcome = str(event.item.output)
                self._tools_running.discard(event.item.call_id)
            elif event.name == "message_output_created":
                # A message that no model streamed, such as the one on too many steps.
                message, text = None, _text(event.item.to_input_item())
                if streamed:
                    streamed -= 1
                elif text:
                    said = True
                    yield Text(self._apart(text))
        if self._late and not result.interruptions:
            raise TimeoutError
        if not said and not result.interruptions and not self._stopping:
            raise TurnFailed("The model gave an empty answer. /retry asks again.")

    def _apart(self, text: str) -> str:
        """`text` as a paragraph of its own, where this turn has shown words before."""
        before, self._said = self._said, True
        return "\n\n" + text if before else text


def session_id_for(email: str) -> str:
    """`alice@example.com` -> `support_alice_at_example_com`, and no two emails get the same id.

    The plain form is used where it can be read back: lower-case letters, digits and hyphens, with
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


def recent_turns(history: list[TResponseInputItem]) -> list[TResponseInputItem]:
    """What the model sees of `history`: its last whole turns.

    A turn starts at a message of the user, so a call and its output stay or go together; calls
    that never got an output are dropped by the SDK.
    """
    starts = [i for i, item in enumerate(history) if item.get("role") == "user"]
    kept: list[Any] = []
    call_ids: dict[str, str] = {}  # of the turn, to ids that no other turn has
    for item in history[starts[-HISTORY_TURNS:][0] :] if starts else []:
        # Ids name what the vendor stored, for a while, and reasoning and calls only together: a
        # conversation that is taken up a month later must not depend on them. Leaving out only
        # the ids of reasoning (reasoning_item_id_policy="omit") is refused by newer models.
        raw = cast(dict[str, Any], item)
        if raw.get("role") == "assistant" and (text := _text(item)):
            raw.clear()
            raw.update(role="assistant", content=text)
        elif raw.get("type") in ("function_call", "function_call_output"):
            raw.pop("id", None)
            # Some servers count calls anew in each turn, and the SDK takes equal ids for one call.
            raw["call_id"] = call_ids.setdefault(raw["call_id"], f"past_{len(kept)}")
        elif raw.get("role") == "user":
            call_ids = {}
        else:
            continue
        kept.append(item)
    return kept


def _awaits(history: list[TResponseInputItem], message: TResponseInputItem) -> bool:
    """Whether `history` ends with this message, stored but not answered."""
    unanswered = bool(history) and not _is_answer(history[-1])
    return unanswered and _last_user_text(history) == _text(message)


def _sendable(data: CallModelData[Any]) -> ModelInputData:
    """What a server takes: no half surrogate pairs, and names of tools only as it allows them.

    Models write both, and one in the history would make every later request fail.
    """
    items = json.loads(clean(json.dumps(data.model_data.input, ensure_ascii=False)))
    for item in items:
        if item.get("type") == "function_call":
            item["name"] = re.sub(r"[^a-zA-Z0-9_-]", "_", item["name"])[:64] or "unknown"
    return ModelInputData(items, data.model_data.instructions)


async def remove_idle(db: Database, days: float) -> int:
    """Erase whole conversations that were idle for `days`; returns how many.

    A TTL index cannot do this: messages carry no date, and losing only the session's document
    would restart its numbering and scramble what stays.
    """
    removed = 0
    before = datetime.now(timezone.utc) - timedelta(days=days)
    async for stored in db.conversations.find({"updated_at": {"$lt": before}}, {"email": 1}):
        lease = Lease(db, stored["_id"], stored["email"])
        now = await lease.acquire()
        if now is None:
            continue
        async with lease.kept():
            if now["updated_at"] < before:  # it may have been used since it was found
                await _erase(db, stored["_id"])
                removed += 1
    return removed


async def _erase(db: Database, session_id: str) -> None:
    """Messages first: whatever is left by a crash is still found, and erased the next time."""
    await db.agent_messages.delete_many({"session_id": session_id})
    await db.agent_sessions.delete_many({"session_id": session_id})
    await db.conversations.delete_one({"_id": session_id})


def _reachable(agent: Agent[Any]) -> dict[str, Agent[Any]]:
    """All agents by name that `agent` leads to through handoffs."""
    found: dict[str, Agent[Any]] = {}
    waiting = [agent]
    while waiting:
        agent = waiting.pop()
        if agent.name not in found:
            found[agent.name] = agent
            waiting += [target for target in agent.handoffs if isinstance(target, Agent)]
    return found


def _agent_of(state: RunState[Any]) -> Agent[Any]:
    """The agent whose call waits for approval."""
    agent: Agent[Any] = state.get_interruptions()[0].agent
    return agent


def _arguments(item: ToolApprovalItem) -> Mapping[str, Any]:
    """The call's arguments; a model may write anything there."""
    try:
        arguments = json.loads(item.arguments or "")
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        raise Refusal("The arguments of that call are not a JSON object. Call it again.")
    return arguments


def _text(item: TResponseInputItem) -> str:
    """The words of a message, refusals included; empty for every other item."""
    content: Any = item.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(part.get("text") or part.get("refusal") or "" for part in parts)


def _is_answer(item: TResponseInputItem) -> bool:
    return item.get("role") == "assistant" and bool(_text(item))


def _has_answer(items: list[TResponseInputItem], message: str | None) -> bool:
    asked = [n for n, i in enumerate(items) if i.get("role") == "user" and _text(i) == message]
    return bool(asked) and any(_is_answer(item) for item in items[asked[-1] :])


def _last_user_text(items: list[TResponseInputItem]) -> str | None:
    return next((_text(i) for i in reversed(items) if i.get("role") == "user"), None)


def _too_many_steps(_: RunErrorHandlerInput[Any]) -> str:
    return "I am sorry, I could not finish this. Please ask for one thing at a time."


def _refused(_: RunErrorHandlerInput[Any]) -> str:
    return "I am sorry, I cannot help with that."


def _explain(error: Exception, said: bool) -> str:
    """One line for the customer: what failed, and what to do. `said`: part of it was shown."""
    lost = "The answer above was not saved" if said else "Your message may not be saved"
    if isinstance(error, OperationFailure) and not error.has_error_label("RetryableWriteError"):
        return f"MongoDB refused a command ({error}). {lost}; /retry asks again."
    if isinstance(error, PyMongoError):
        return f"MongoDB stopped answering. {lost}; /retry asks again."
    if isinstance(error, LeaseLost):
        return f"Another terminal took this conversation over. {lost}; /history shows what is."
    if isinstance(error, (openai.AuthenticationError, openai.PermissionDeniedError)):
        return "The model's server refused the API key. Check OPENAI_API_KEY, then /retry."
    if isinstance(error, openai.NotFoundError):
        return "The model's server does not know this model. Check OPENAI_MODEL, then /retry."
    if isinstance(error, openai.RateLimitError) and error.code == "insufficient_quota":
        return "The quota of this API key is used up. Check the plan and billing, then /retry."
    if isinstance(error, openai.RateLimitError):
        return "The model is busy. Your message is saved; /retry answers it."
    if isinstance(error, openai.BadRequestError):
        if error.code == "context_length_exceeded":
            return "This conversation is too long for the model. /reset starts a new one."
        return "The model's server refused the request. /retry asks again, --debug shows why."
    late = (openai.APITimeoutError, openai.InternalServerError, TimeoutError)
    if isinstance(error, openai.APIConnectionError) and not isinstance(error, late):
        return "No connection to the model's server. Your message is saved; /retry answers it."
    if isinstance(error, late):
        return "The model did not answer. Your message is saved; /retry answers it."
    kind = type(error).__name__
    return f"The answer failed ({kind}). Your message is saved; /retry answers it."

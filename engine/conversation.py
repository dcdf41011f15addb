"""One owner's conversation: each turn as a stream of events, kept in MongoDB between turns.

What was said and answered is in the SDK's session, as soon as a step is complete; until then, and
for all else, there is the record (record.py).
Nothing here knows of shops or screens.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from agents import Agent, RunConfig, RunHooks, Usage
from agents.extensions.memory import MongoDBSession

from engine import history, retention
from engine.approval import Approvals
from engine.driver import has_transactions
from engine.errors import failure
from engine.events import ApprovalNeeded, Event, Reason, TurnFailed, Waiting
from engine.history import Item, Message
from engine.lease import Lease
from engine.models.request import for_model
from engine.options import Approval, Commit, Limits, Words
from engine.record import Collections, Fields, InboxEntry, Record, check_record, in_utc, is_held
from engine.session import Tail, TurnSession
from engine.setup import Content, Setup, by_name, completed, guards_outputs, prepared
from engine.stream import Stream
from engine.turn import Turn

T = TypeVar("T")
Work = Callable[[Turn], Awaitable[None]]


@dataclass(frozen=True)
class Opened:
    """The conversation as it was when it was opened."""

    recent: Sequence[Message] = ()  # the last of what was said
    total: int = 0  # how many messages were said
    last_active: datetime | None = None  # UTC; None for a new conversation
    pending: bool = False  # whether an approval waits: see `Conversation.resume`
    answering: bool = False  # whether another process held the lease, by this machine's clock


class Conversation:
    """Open it with `Conversation.open`; then run one of its streams of events at a time.

    Each stream is made by `_events`: it takes the lease, and lets a `Turn` do one thing.
    """

    def __init__(self, tail: Tail, lease: Lease) -> None:
        self.id = lease.session_id
        self.opened = Opened()
        self.unanswered: str | None = None  # the last message, if it has no answer
        self.collections = Collections(
            tail.session._sessions, tail.session._messages, lease.records
        )
        self._tail = tail
        self._lease = lease
        self._setup: Setup  # `open` sets both: a context is made with `_commit`
        self._approvals: Approvals
        self._stream = Stream()
        self._turn: Turn | None = None  # the last one
        self._sent: InboxEntry | None = None  # a message that MongoDB has not confirmed yet

    @classmethod
    async def open(
        cls,
        session: MongoDBSession,
        *,
        owner: str,
        agent: Agent[Any],
        context: Callable[[Commit], Any] = lambda commit: None,
        approvals: Mapping[str, Approval] | None = None,
        run_config: RunConfig | None = None,
        hooks: RunHooks[Any] | None = None,
        check: Callable[[Content], str | None] = lambda message: None,
        instead: Callable[[Mapping[str, object]], str | None] = lambda record: None,
        records: str = "conversations",
        limits: Limits = Limits(),  # noqa: B008
        words: Words = Words(),  # noqa: B008
    ) -> Conversation:
        """Take up the conversation that is stored for `session`, or a new one.

        Args:
            session: its client, database and collections are used; the records stand beside them.
            owner: whom it belongs to, any string; it is checked at each opening.
            agent: it answers first; the others are reached through its handoffs.
            context: makes what the tools get, from the function through which they write.
            approvals: by the names of their tools; a tool without one gets a plain question.
            run_config: the SDK's, with the model if it is not the agents' own. Its
                `session_settings` and `tool_not_found_behavior` are the engine's, and it takes no
                `session_input_callback`: `call_model_input_filter` changes what the model sees.
            hooks: the SDK's; they are told what the engine's own are told.
            check: returns why a message is not taken, or None. It is then neither stored nor sent.
            instead: returns what to tell while somebody else answers, such as a person, or None.
                The message then waits, until `answer` or an agent answers it.
            records: the name of the collection for what the session does not remember.
            limits: how much a conversation may use.
            words: the engine's own sentences.

        Raises TurnFailed if it belongs to another owner, if a newer version wrote it, or if
        `context` fails; ValueError for a `session_input_callback`, for two agents with one name,
        or if the client of a replica set has a write concern of its own (see
        `without_write_concern`); and what the driver raises.
        """
        database = session._messages.database
        transactions = await has_transactions(database.client)
        if transactions and not database.client.write_concern.is_server_default:
            raise ValueError(
                "In a transaction the server refuses the client's write concern: omit w."
            )
        lease = Lease(
            database[records],
            session.session_id,
            owner,
            transactions=transactions,
            seconds=limits.lease_seconds,
        )
        config = run_config or RunConfig()
        tail = Tail(session, limits)
        self = cls(tail, lease)
        try:
            made = context(self._commit)
        except Exception as error:
            raise failure(error) from error
        agents = list(prepared(agent))
        guarded = config.output_guardrails or any(guards_outputs(each) for each, _ in agents)
        self._setup = Setup(
            agent=agent,
            agents=by_name(each for each, is_tool in agents if not is_tool),
            guards_outputs=bool(guarded),
            context=made,
            approvals=approvals or {},
            run_config=completed(config, session.session_id),
            hooks=hooks or RunHooks(),
            check=check,
            instead=instead,
            limits=limits,
            words=words,
        )
        self._approvals = Approvals(self._setup, tail)
        record = await lease.read() or Record()
        check_record(record, owner)
        found = TurnSession(tail, lease, record)
        await found.load()
        self.unanswered = history.unanswered(found.items)
        last = record.get("updated_at")
        self.opened = Opened(
            recent=tuple(history.transcript(found.items)),
            total=record["messages"] + len(history.transcript(found.coming)),
            last_active=in_utc(last) if last else None,
            pending=bool(record.get("pending")),
            answering=is_held(record),
        )
        return self

    def turn(self, message: Content) -> AsyncGenerator[Event, None]:
        """Answer `message`, a text or the API's content parts; an approval that waits is withdrawn.

        Raises TurnFailed. If the message is too long, empty or refused, or if `check` fails, at
        once; it is not kept. Else from the stream; the message is then stored, or kept here for
        `retry`.
        """
        item = {"role": "user", "content": self._setup.checked(message)}
        return self._events(Turn.reply, item, accepts=True)

    def retry(self) -> AsyncGenerator[Event, None]:
        """Answer the last message if it has no answer yet. It is never stored twice."""
        return self._events(Turn.reply, accepts=True)

    def resume(self) -> AsyncGenerator[Event, None]:
        """Ask for the approval that waits. Yields nothing if there is none."""
        return self._events(Turn.ask_again)

    def decide(self, needed: ApprovalNeeded, yes: bool) -> AsyncGenerator[Event, None]:
        """Go on after the owner's decision. Only the first decision on an approval counts."""
        return self._events(lambda turn: turn.decide(needed.id, yes))

    def answer(self, text: str, fields: Fields | None = None) -> AsyncGenerator[Event, None]:
        """Store `text` as the answer, such as a person's; an approval that waits is withdrawn.

        `fields`: of the record, of your own, that are set in the same write. Raises
        TurnFailed, and ValueError for a field of the engine's.
        """
        own = fields or {}
        if engines := own.keys() & Record.__annotations__:
            raise ValueError(f"The engine itself writes {', '.join(sorted(engines))}.")
        return self._events(lambda turn: turn.store_answer(text, own))

    def stop(self) -> None:
        """Stop the answer under way. A running tool finishes, and its result is stored."""
        self._stream.stop()

    @property
    def usage(self) -> Usage:
        """What the last turn used: model calls and tokens, as the SDK counts them."""
        return self._turn.usage if self._turn else Usage()

    async def transcript(self) -> list[Message]:
        """All that was said, oldest first."""
        return history.transcript(await self._items())

    async def next_input(self) -> list[Any]:
        """The history that the next turn would send to the model."""
        limits = self._setup.limits
        return for_model(await self._items(limits.items), limits)

    async def erase(self) -> None:
        """Delete every document of this conversation. It waits for a turn that runs elsewhere.

        Raises TurnFailed.
        """
        self._begin(Stream())
        try:
            async with self._lease.hold(lambda: None):
                await retention.erase(self._lease, self._tail.session)
        except Exception as error:
            raise failure(error) from error
        finally:
            self._stream.running = False
        self._sent, self.unanswered = None, None

    async def _commit(self, write: Callable[[], Awaitable[T]]) -> T:
        """How tools write: see `Commit`."""
        if self._turn is None:
            raise RuntimeError("A tool can write only in a turn.")
        return await self._turn.session.deed.commit(write, guarded=self._setup.guards_outputs)

    async def _items(self, limit: int | None = None) -> list[Item]:
        """The last `limit` items, and the inbox; if a step moves the inbox meanwhile, once more."""
        record = await self._lease.read() or Record()
        while True:
            items, before = await self._tail.read(limit), record
            record = await self._lease.read() or Record()
            if record.get("inbox") == before.get("inbox"):
                return [*items, *await self._tail.inbox(record)]

    def _begin(self, stream: Stream) -> None:
        """Raises TurnFailed while another stream runs."""
        if self._stream.running:
            raise TurnFailed(Reason.ALREADY_ANSWERING)
        stream.running = True
        self._stream, self._turn = stream, None

    def _events(
        self, work: Work, item: Item | None = None, *, accepts: bool = False
    ) -> AsyncGenerator[Event, None]:
        """The stream that does `work` in a turn of its own. See `_do`."""
        stream = Stream()
        return stream.events(
            lambda: self._begin(stream), lambda: self._do(stream, work, item, accepts)
        )

    async def _do(self, stream: Stream, work: Work, item: Item | None, accepts: bool) -> None:
        """Do `work` under the lease.

        `item` is a new message. If `work` `accepts`, the message that MongoDB has not confirmed
        yet is accepted with the lease; its id tells whether MongoDB has it after all.
        """
        if item:
            self.unanswered = history.text_of(item)
            self._sent = {"id": uuid.uuid4().hex, "item": await self._tail.seal(item)}
        message = self._sent if accepts else None
        stream.stop_with(stream.cancel)  # not before: now `_sent` keeps the message for `retry`
        async with self._lease.hold(lambda: stream.tell(Waiting()), message) as record:
            session = TurnSession(self._tail, self._lease, record)
            turn = Turn(self._setup, self._approvals, session, record, stream)
            self._turn = turn
            self._lease.spent = turn.spent  # counted when the lease is given back
            stream.stop_with(turn.stop)
            if accepts:
                self._sent, stream.accepted = None, True
            await session.load()
            try:
                await turn.do(work)
            finally:
                self.unanswered = history.unanswered(session.items)

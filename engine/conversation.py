"""One owner's conversation: each turn as a stream of events, kept in MongoDB between turns.

The SDK's session is the only truth about what was said and answered; record.py has the rest.
Nothing here knows of shops or screens.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeAlias, TypeVar

from agents import Agent, Handoff, Model, RunConfig, RunHooks, RunState, Usage
from agents.extensions.memory import MongoDBSession
from agents.items import ToolApprovalItem

from engine import history, retention
from engine.approval import Approval, Approvals, Commit, call_of
from engine.driver import has_transactions
from engine.errors import blocks_message, failure
from engine.events import (
    ApprovalLost,
    ApprovalNeeded,
    Event,
    Finished,
    Reason,
    Settled,
    Stopped,
    Text,
    TurnFailed,
    Waiting,
)
from engine.history import Item, Message
from engine.lease import Lease
from engine.model import CheckedModel, CheckedProvider
from engine.options import Limits, Words
from engine.record import Accepted, Record, check_record
from engine.run import Run
from engine.session import Stored, TurnSession
from engine.text import clean
from engine.turn import Turn

T = TypeVar("T")
Content: TypeAlias = "str | list[dict[str, Any]]"
# What a turn does under the lease.
Work = Callable[[Turn, TurnSession, Record], Awaitable[None]]


@dataclass(frozen=True)
class Opened:
    """The conversation as it was when it was opened."""

    recent: Sequence[Message]  # the last of what was said
    total: int  # how many messages were said
    last_active: datetime | None  # UTC; None for a new conversation
    pending: bool  # whether an approval waits: see `Conversation.resume`


class Conversation:
    """Open it with `Conversation.open`; then run one of its streams of events at a time."""

    def __init__(
        self,
        session: MongoDBSession,
        lease: Lease,
        *,
        agent: Agent[Any],
        context: Callable[[Commit], Any],
        approvals: Mapping[str, Approval],
        run_config: RunConfig | None,
        hooks: RunHooks[Any] | None,
        check: Callable[[Content], str | None],
        limits: Limits,
        words: Words,
    ) -> None:
        self.id = session.session_id
        self.opened = Opened((), 0, None, False)
        self.unanswered: str | None = None  # the last message, if it has no answer
        self._lease = lease
        self._stored = Stored(session, limits)
        self._agents = _reachable(agent)
        self._first_agent = agent
        self._context = context(self._commit)
        self._approvals = Approvals(approvals, agent, self._context, self._stored, words)
        self._run_config = _merged(run_config or RunConfig(), self.id)
        self._hooks = hooks
        self._check = check
        self._limits = limits
        self._words = words
        self._turn = Turn()
        self._session: TurnSession | None = None  # of the turn that runs
        self._sent: Accepted | None = None  # a message that MongoDB has not confirmed yet

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
            run_config: the SDK's, with the model if it is not the agents' own.
            hooks: the SDK's; they are told what the engine's own are told.
            check: returns why a message is not taken, or None. It is then neither stored nor sent.
            records: the name of the collection for what the session does not remember.
            limits: how much a conversation may use.
            words: the engine's own sentences.

        Raises TurnFailed if it belongs to another owner, or if a newer version wrote it; and what
        the driver raises.
        """
        database = session._messages.database
        lease = Lease(
            database[records],
            session.session_id,
            owner,
            transactions=await has_transactions(database.client),
            seconds=limits.lease_seconds,
        )
        self = cls(
            session,
            lease,
            agent=agent,
            context=context,
            approvals=approvals or {},
            run_config=run_config,
            hooks=hooks,
            check=check,
            limits=limits,
            words=words,
        )
        record = await lease.read() or Record()
        check_record(record, owner)
        now = TurnSession(self._stored, lease, record)
        await now.load()
        self.unanswered = history.unanswered(now.items)
        self.opened = Opened(
            tuple(history.transcript(now.items)),
            record["messages"] + len(history.transcript(now.ahead)),
            record.get("updated_at"),
            bool(record.get("pending")),
        )
        return self

    def turn(self, message: Content) -> AsyncGenerator[Event, None]:
        """Answer `message`, a text or the API's content parts; an approval that waits is withdrawn.

        Raises TurnFailed. If the message is too long, empty or refused, at once; it is not kept.
        Else from the stream; the message is then stored, or kept here for `retry`.
        """
        content = self._checked(message)
        return self._stream(lambda: self._accept(content), self._answer)

    def retry(self) -> AsyncGenerator[Event, None]:
        """Answer the last message if it has no answer yet. It is never stored twice."""
        return self._stream(self._accept_again, self._answer)

    def resume(self) -> AsyncGenerator[Event, None]:
        """Ask for the approval that waits. Yields nothing if there is none."""
        return self._stream(self._accept_nothing, self._ask_again)

    def decide(self, needed: ApprovalNeeded, yes: bool) -> AsyncGenerator[Event, None]:
        """Go on after the owner's decision. Only the first decision on an approval counts."""
        return self._stream(self._accept_nothing, partial(self._decide, needed.id, yes))

    def stop(self) -> None:
        """Stop the answer under way. A running tool finishes, and its result is stored."""
        self._turn.stop()

    @property
    def usage(self) -> Usage:
        """What the last turn used: model calls and tokens, as the SDK counts them."""
        return self._turn.usage

    async def transcript(self) -> list[Message]:
        """All that was said, oldest first."""
        return history.transcript([*await self._stored.read(), *await self._inbox()])

    async def next_input(self) -> list[Any]:
        """The history that the next turn would send to the model."""
        items = [*await self._stored.read(self._limits.items), *await self._inbox()]
        return history.window(history.taken(items))

    async def erase(self) -> None:
        """Delete every document of this conversation. It waits for a turn that runs elsewhere.

        Raises TurnFailed.
        """
        try:
            async with self._lease.hold(lambda: None):
                await retention.erase(self._lease, self._stored.session)
        except Exception as error:
            raise failure(error) from error
        self._sent, self.unanswered = None, None

    async def _commit(self, write: Callable[[], Awaitable[T]]) -> T:
        """How tools write: see `Commit`."""
        if self._session is None:
            raise RuntimeError("A tool can write only in a turn.")
        return await self._session.commit(write)

    async def _inbox(self) -> list[Item]:
        return await self._stored.inbox(await self._lease.read() or Record())

    def _checked(self, message: Content) -> Content:
        """`message`, cleaned. Raises TurnFailed if it cannot be taken."""
        text = message if isinstance(message, str) else history.text_of({"content": message})
        if len(text) > self._limits.message:
            told = (
                f"That message has {len(text):,} characters; {self._limits.message:,} is the most."
            )
            raise TurnFailed(Reason.MESSAGE_TOO_LONG, told)
        if isinstance(message, str):
            message = clean(message).strip()
        if not message:
            raise TurnFailed(Reason.MESSAGE_EMPTY)
        if refused := self._check(message):
            raise TurnFailed(Reason.MESSAGE_BLOCKED, refused)
        return message

    async def _accept(self, content: Content) -> Accepted:
        item = {"role": "user", "content": content}
        self.unanswered = history.text_of(item)
        return {"id": uuid.uuid4().hex, "item": await self._stored.seal(item)}

    async def _accept_again(self) -> Accepted | None:
        return self._sent  # its id tells whether MongoDB has it after all

    async def _accept_nothing(self) -> None:
        return None

    async def _stream(
        self, accept: Callable[[], Awaitable[Accepted | None]], work: Work
    ) -> AsyncGenerator[Event, None]:
        """A turn that accepts a message, and does `work` while it holds the lease."""
        if self._turn.running:
            raise TurnFailed(Reason.ALREADY_ANSWERING)
        turn = self._turn = Turn()
        async with aclosing(turn.stream(partial(self._under_lease, accept, work))) as events:
            async for event in events:
                yield event

    async def _under_lease(
        self, accept: Callable[[], Awaitable[Accepted | None]], work: Work, turn: Turn
    ) -> None:
        try:
            if message := await accept():
                self._sent = message
            async with self._lease.hold(
                lambda: turn.tell(Waiting()), message, partial(_counts, turn)
            ) as record:
                turn.begin_writing()
                if message:
                    self._sent = None
                check_record(record, self._lease.owner)
                session = self._session = TurnSession(self._stored, self._lease, record)
                await session.load()
                try:
                    await self._begin(work, turn, session, record)
                finally:
                    self.unanswered = history.unanswered(session.items)
        except Exception as error:
            raise failure(error, shown=bool(turn.run and turn.run.said)) from error

    async def _begin(self, work: Work, turn: Turn, session: TurnSession, record: Record) -> None:
        if (lease := record.get("lease")) and (withdrawn := lease["withdrawn"]):
            turn.tell(Settled(False, await self._approvals.declined(withdrawn)))
        if session.deed:
            turn.tell(Settled(True, history.first_line(session.deed)))
        if turn.stopping:
            await self._end(turn, session)
        else:
            await work(turn, session, record)

    async def _answer(self, turn: Turn, session: TurnSession, record: Record) -> None:
        if record.get("pending"):
            await self._ask_again(turn, session, record)
        elif history.unanswered(session.items) is None:
            await session.store(last=True)  # on a standalone, a kill may have left the inbox behind
            raise TurnFailed(Reason.NOTHING_TO_RETRY)
        else:
            await self._run(turn, session)

    async def _ask_again(self, turn: Turn, session: TurnSession, record: Record) -> None:
        if not (pending := record.get("pending")):
            return
        state = await self._approvals.restore(pending)
        if state is None:
            turn.tell(ApprovalLost())
        elif asked := await self._approvals.ask(state):
            turn.tell(self._approvals.show(pending, asked))
        else:
            session.close_approval()
            await self._run(turn, session, state)

    async def _decide(
        self, id: str, yes: bool, turn: Turn, session: TurnSession, record: Record
    ) -> None:
        pending = record.get("pending")
        if not pending or pending["id"] != id:
            raise TurnFailed(Reason.DECIDED_ELSEWHERE)
        state = await self._approvals.restore(pending)
        if state is None:
            turn.tell(ApprovalLost())
            return
        call = call_of(state)
        session.close_approval(call.call_id if yes else None)
        if not yes:
            # A no counts from here on. A yes counts when its tool commits what it has done.
            await session.store()
            turn.tell(Settled(False, await self._approvals.declined(pending)))
        self._approvals.decide(state, yes=yes)
        await self._run(turn, session, state, approved=call if yes else None)

    async def _run(
        self,
        turn: Turn,
        session: TurnSession,
        state: RunState[Any] | None = None,
        *,
        approved: ToolApprovalItem | None = None,
    ) -> None:
        """Let the agents work until there is an answer, or an approval is needed."""
        while not (turn.stopping and state is None):
            run = turn.run = Run(
                self._agents.get(session.agent, self._first_agent),
                state or [],
                earlier=turn.run,
                approved=approved,
                tell=turn.tell,
                session=session,
                context=self._context,
                config=self._run_config,
                hooks=self._hooks,
                limits=self._limits,
                words=self._words,
            )
            try:
                await run.tell_all()
            except Exception as error:
                if blocks_message(error):
                    await session.withhold()
                raise
            if turn.stopping or not run.result.interruptions:
                break
            state, approved = run.result.to_state(), None
            if asked := await self._approvals.ask(state):
                pending = await self._approvals.suspend(state)
                await session.store(pending=pending, last=True)
                turn.tell(self._approvals.show(pending, asked))
                return
        await self._end(turn, session)

    async def _end(self, turn: Turn, session: TurnSession) -> None:
        run, answered = turn.run, history.unanswered(session.items) is None
        if turn.stopping or not run:
            if not answered:
                shown = run.unfinished.strip() if run else ""
                said = [history.answer(f"{shown} {self._words.stopped}")] if shown else []
                await session.store(said, last=True)
            turn.tell(Stopped())
            return
        output = run.result.final_output
        if not answered:  # the output of a tool ends the run, or a custom function's
            text = "" if output is None else str(output)
            if not text.strip():
                raise TurnFailed(Reason.ANSWER_EMPTY)
            await session.store([history.answer(text)], last=True)
            turn.tell(Text(text))
        turn.tell(Finished(run.result.last_agent.name, output, turn.usage))


def _reachable(agent: Agent[Any]) -> dict[str, Agent[Any]]:
    """All agents by name that `agent` leads to through handoffs."""
    found: dict[str, Agent[Any]] = {}
    waiting: list[Any] = [agent]
    while waiting:
        target = waiting.pop()
        if isinstance(target, Handoff):
            target = target._agent_ref() if target._agent_ref else None
        if isinstance(target, Agent) and target.name not in found:
            found[target.name] = target
            waiting += target.handoffs
            if isinstance(target.model, Model):
                target.model = CheckedModel.of(target.model)
    return found


def _merged(given: RunConfig, conversation: str) -> RunConfig:
    """The builder's run config, with what the engine needs."""
    return dataclasses.replace(
        given,
        model=CheckedModel.of(given.model) if isinstance(given.model, Model) else given.model,
        model_provider=CheckedProvider(given.model_provider),
        group_id=given.group_id or conversation,
        tool_not_found_behavior="return_error_to_model",
    )


def _counts(turn: Turn) -> dict[str, int]:
    """What the turn adds to the record's `usage`; nothing if it called no model."""
    used = turn.usage
    counts = {
        "calls": used.requests,
        "input_tokens": used.input_tokens,
        "cached_tokens": used.input_tokens_details.cached_tokens or 0,
        "output_tokens": used.output_tokens,
    }
    return {f"usage.{name}": n for name, n in counts.items()} if used.requests else {}

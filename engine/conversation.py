"""One customer's conversation: each turn as a stream of events, kept in MongoDB between turns.

The SDK's session is the only truth about what was said and answered. `conversations` has what it
does not keep: {_id: session id, email, active_agent: who answers next, messages: how many were
said, usage: {calls, input_tokens, cached_tokens, output_tokens}, pending: the question that waits,
lease: whose turn it is, updated_at}. Nothing here knows of shops or screens.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from agents import Agent, Model, ModelSettings, RunConfig, RunState, SessionSettings, Usage, trace
from agents.memory import Session

from database import Document
from engine import approval, history, retention
from engine.approval import Approval, Questions
from engine.errors import failure
from engine.events import (
    ApprovalNeeded,
    Event,
    QuestionLost,
    Reason,
    Settled,
    Stopped,
    TurnFailed,
    Waiting,
)
from engine.history import HISTORY_ITEMS, STOPPED, Message, begins_turn
from engine.lease import Lease
from engine.model import CheckedModel
from engine.session import FencedSession
from engine.text import clean
from engine.turn import Turn

MAX_MESSAGE = 4_000  # characters

# What a turn does under the lease; it gets the conversation's document.
Work = Callable[[Turn, Document], Awaitable[None]]


class Conversation:
    """Open it with `Conversation.open`; then run one of its streams of events at a time."""

    def __init__(
        self,
        session: Session,
        lease: Lease,
        *,
        agent: Agent[Any],
        context: Any,
        approvals: Mapping[str, Approval],
        model: Model,
        model_settings: ModelSettings | None = None,
    ) -> None:
        """`agent` answers first; the others are reached through its handoffs. `context` goes to
        the tools; `approvals` are by the names of the tools that need one."""
        self.id = session.session_id
        self.pending = False  # whether a question waited when it was opened: see `resume`
        self.unanswered: str | None = None  # the last message, if it has no answer
        self.last_active: datetime | None = None  # UTC; None for a new conversation
        self.recent: list[Message] = []  # the last of what was said before it was opened
        self.total = 0  # how many messages were said before
        self._session = FencedSession(session, lease)
        self._lease = lease
        self._agents = _reachable(agent)
        self._first_agent = agent
        self._context = context
        self._questions = Questions(approvals, agent, context)
        self._run_config = RunConfig(
            model=CheckedModel(model),
            model_settings=model_settings,
            session_settings=SessionSettings(limit=HISTORY_ITEMS),
            tool_not_found_behavior="return_error_to_model",
        )
        self._turn = Turn()
        self._unsaved = ""  # the customer's message until MongoDB has it ...
        self._before: list[Any] | None = None  # ... and, once it was sent, the history before it

    @classmethod
    async def open(cls, session: Session, lease: Lease, **parts: Any) -> Conversation:
        """Take up the conversation that is stored for `session`, or a new one.

        `parts` as for `Conversation()`. Raises TurnFailed if it belongs to another email.
        """
        self = cls(session, lease, **parts)
        stored = await lease.db.conversations.find_one({"_id": self.id}) or {}
        if stored.get("email", lease.email) != lease.email:
            told = f"This conversation belongs to another address than {lease.email}."
            raise TurnFailed(Reason.OTHER_EMAIL, told)
        await self._session.load(stored)
        self.last_active = stored.get("updated_at")
        self.pending = bool(stored.get("pending"))
        self.unanswered = history.unanswered(self._session.history)
        self.recent = history.transcript(self._session.history)
        self.total = self._session.messages
        return self

    def turn(self, message: str) -> AsyncGenerator[Event, None]:
        """Answer `message`; if a question waits, that withdraws it.

        Raises TurnFailed. If the message is too long or empty, at once; it is not kept. Else from
        the stream; the message is then stored, or kept here for `retry`.
        """
        if len(message) > MAX_MESSAGE:
            told = f"That message has {len(message):,} characters; {MAX_MESSAGE:,} is the most."
            raise TurnFailed(Reason.MESSAGE_TOO_LONG, told)
        message = clean(message).strip()
        if not message:
            raise TurnFailed(Reason.MESSAGE_EMPTY)
        self._unsaved, self._before = message, None
        return self._under_lease(self._answer)

    def retry(self) -> AsyncGenerator[Event, None]:
        """Answer the last message if it has no answer yet. It is never stored twice."""
        return self._under_lease(self._answer_again)

    def resume(self) -> AsyncGenerator[Event, None]:
        """Ask the question that waits. Yields nothing if there is none."""
        return self._under_lease(self._ask_again)

    def decide(self, needed: ApprovalNeeded, yes: bool) -> AsyncGenerator[Event, None]:
        """Go on after the customer's decision. Only the first decision on a question counts."""
        return self._under_lease(partial(self._decide, needed.id, yes))

    def stop(self) -> None:
        """Stop the answer under way. A running tool finishes, and its result is stored."""
        self._turn.stop()

    @property
    def usage(self) -> Usage:
        """What the last turn used: model calls and tokens, as the SDK counts them."""
        return self._turn.usage

    async def transcript(self) -> list[Message]:
        """All that was said, oldest first."""
        return history.transcript(await self._session.stored())

    async def next_input(self) -> list[Any]:
        """The history that the next turn would send to the model."""
        return history.window(await self._session.stored(HISTORY_ITEMS))

    async def erase(self) -> None:
        """Delete every document of this conversation. It waits for a turn that runs elsewhere.

        Raises TurnFailed.
        """
        try:
            async with self._lease.taken(lambda: None):
                await retention.erase(self._lease)
        except Exception as error:
            raise failure(error) from error
        self._unsaved, self.unanswered, self.last_active = "", None, None

    def _under_lease(self, work: Work) -> AsyncGenerator[Event, None]:
        """A turn that does `work` while it holds the lease."""
        self._turn = Turn()

        async def run(turn: Turn) -> None:
            try:
                async with self._lease.taken(
                    lambda: turn.tell(Waiting()), spent=turn.counts
                ) as stored:
                    turn.hold()
                    if turn.stopping:
                        turn.tell(Stopped())
                        return
                    await self._session.load(stored)
                    try:
                        await work(turn, stored)
                    finally:
                        last = history.unanswered(self._session.history)
                        self.unanswered = self._unsaved or last
            except Exception as error:
                raise failure(error, shown=turn.said) from error

        return self._turn.stream(run)

    async def _answer(self, turn: Turn, stored: Document) -> None:
        """Store the new message, withdraw a question that waits, and let the agents answer."""
        self._before = self._session.history.copy()
        if stored.get("pending"):
            self._session.fields["pending"] = None
        if history.unanswered(self._session.history) != self._unsaved:
            await self._session.add_items([{"role": "user", "content": self._unsaved}])
        elif self._session.fields:
            await self._lease.update(**self._session.fields)
        self._unsaved = ""
        if waited := stored.get("pending"):
            turn.tell(Settled(False, self._questions.declined(waited)))
        await self._run(turn, stored)

    async def _answer_again(self, turn: Turn, stored: Document) -> None:
        if self._unsaved and not self._was_stored():
            await self._answer(turn, stored)
            return
        self._unsaved = ""
        if stored.get("pending"):
            await self._ask_again(turn, stored)
        elif history.unanswered(self._session.history) is None:
            raise TurnFailed(Reason.NOTHING_TO_RETRY)
        else:
            await self._run(turn, stored)

    def _was_stored(self) -> bool:
        """Whether MongoDB has the unsaved message after all: only the reply to it was lost."""
        if self._before is None:
            return False
        since = history.added(self._before, self._session.history)
        return self._unsaved in [history.text_of(item) for item in since if begins_turn(item)]

    async def _ask_again(self, turn: Turn, stored: Document) -> None:
        pending = stored.get("pending")
        if not pending:
            return
        state = await self._questions.restored(pending)
        if state is None:
            await self._lease.update(pending=None)
            turn.tell(QuestionLost())
        elif asked := await self._questions.ask(state):
            turn.tell(ApprovalNeeded(pending["id"], asked))
        else:
            self._session.fields["pending"] = None
            await self._run(turn, stored, state)

    async def _decide(self, id: str, yes: bool, turn: Turn, stored: Document) -> None:
        pending = stored.get("pending")
        if not pending or pending["id"] != id:
            raise TurnFailed(Reason.DECIDED_ELSEWHERE)
        state = await self._questions.restored(pending)
        if state is None or not yes:
            # A no counts from here on. A yes counts when its tool commits what it has done.
            await self._lease.update(pending=None)
            turn.tell(Settled(False, self._questions.declined(pending)))
        if state:
            approval.decide(state, yes=yes, reason="The customer said no, so it was not done.")
            self._session.fields["pending"] = None
            await self._run(turn, stored, state)

    async def _run(self, turn: Turn, stored: Document, state: RunState[Any] | None = None) -> None:
        """Let the agents work until there is an answer, or a question for the customer."""
        named = history.handed_to(self._session.history) or stored.get("active_agent") or ""
        agent = self._agents.get(named, self._first_agent)
        if state:
            agent = approval.call_of(state).agent
        while not (turn.stopping and state is None):
            with trace("Customer Support", group_id=self.id):
                result = await turn.run(
                    agent,
                    state or [],
                    context=self._context,
                    session=self._session,
                    run_config=self._run_config,
                    approved=self._questions.done,
                )
            if turn.stopping or not result.interruptions:
                break
            state, agent = result.to_state(), result.last_agent
            if asked := await self._questions.ask(state):
                pending = self._questions.suspended(state)
                await self._lease.update(pending=pending, last=True)
                turn.tell(ApprovalNeeded(pending["id"], asked))
                return
        await self._end(turn)

    async def _end(self, turn: Turn) -> None:
        if turn.stopping:
            if turn.unfinished:
                text = f"{turn.unfinished.strip()} {STOPPED}"
                await self._session.add_items([{"role": "assistant", "content": text}])
            turn.tell(Stopped())
        elif history.unanswered(self._session.history) is not None:
            raise TurnFailed(Reason.ANSWER_EMPTY, shown=turn.said)


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

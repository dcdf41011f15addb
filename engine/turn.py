"""One turn under the lease: what is done with a message, an approval or a decision, in order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agents import OutputGuardrailTripwireTriggered, RunState, Usage
from pydantic_core import to_json

from engine.approval import Approvals, call_in_history, call_of
from engine.deed import DONE, closed
from engine.errors import failure
from engine.events import (
    ApprovalLost,
    CutOff,
    Event,
    Finished,
    Reason,
    Settled,
    Stopped,
    Text,
    TurnFailed,
)
from engine.history import CUT_OFF, assistant_item, first_line, unanswered
from engine.record import Fields, Pending, Record
from engine.run import Run
from engine.session import TurnSession
from engine.setup import Setup
from engine.stream import Stream


@dataclass(eq=False)
class Turn:
    """It lives as long as its lease, and does one thing: `reply`, `store_answer`, `ask_again` or
    `decide`."""

    _setup: Setup
    _approvals: Approvals
    session: TurnSession
    _record: Record
    _stream: Stream
    _run: Run | None = None  # the last call of the SDK's Runner

    async def do(self, work: Callable[[Turn], Awaitable[None]]) -> None:
        """Tell what became of approvals, then do `work`, unless the owner has stopped already."""
        told: dict[str, Any] = {}
        if withdrawn := self._record.get("withdrawn"):
            self._stream.tell(Settled(False, await self._approvals.declined(withdrawn)))
            told["withdrawn"] = None
        if untold := self.session.deed.untold:
            for output in untold:
                self._stream.tell(Settled(True, first_line(output)))
            told["deed"] = await self.session.deed.sealed_as_told()
        if told:
            await self.session.lease.update(told)
        if self._stream.stopping:
            await self._end()
        else:
            await work(self)

    def stop(self) -> None:
        if self._run:
            self._run.cancel()

    @property
    def usage(self) -> Usage:
        """Of the model calls that came to their end, inner agents included."""
        return self._run.usage if self._run else Usage()

    def spent(self) -> dict[str, int]:
        """What it adds to the record's `usage`; nothing if it called no model."""
        if not (used := self.usage).requests:
            return {}
        calls = {"usage.calls": used.requests}
        if not used.total_tokens:  # the server did not count them: unknown is not 0
            return calls
        return calls | {
            "usage.input_tokens": used.input_tokens,
            "usage.cached_tokens": used.input_tokens_details.cached_tokens or 0,
            "usage.output_tokens": used.output_tokens,
        }

    async def reply(self) -> None:
        """Let the agents answer the message that waits. At a retry, an approval may wait instead:
        then ask for it again.
        """
        if self._record.get("pending"):
            await self.ask_again()
        elif unanswered(self.session.items) is None:
            # On a standalone, after a kill, the inbox may still hold what the history has.
            await self.session.store(last=True)
            raise TurnFailed(Reason.NOTHING_TO_RETRY)
        elif told := self._setup.instead(self._record):
            self._stream.tell(Text(told))
        else:
            await self._go_on()

    async def store_answer(self, text: str, fields: Fields) -> None:
        """Store `text` as the answer; nobody is asked any more."""
        await self.session.store([assistant_item(text)], {**fields, "pending": None}, last=True)
        if pending := self._record.get("pending"):
            self._stream.tell(Settled(False, await self._approvals.declined(pending)))

    async def ask_again(self) -> None:
        """Ask for the approval that waits, if there is one."""
        if not (pending := self._record.get("pending")):
            return
        if not (state := await self._restore(pending)):
            return
        stored_call, approved = call_in_history(state), dict(pending.get("approved", []))
        if asked := await self._approvals.question_or_refuse(state):
            self._stream.tell(self._approvals.show(pending, asked))
        else:  # the call is refused; those that got their yes before are made
            self.session.close_approval(stored_call, len(approved))
            await self._go_on(state, approved)

    async def decide(self, id: str, yes: bool) -> None:
        """Go on after the decision on the approval `id`."""
        pending = self._record.get("pending")
        if not pending or pending["id"] != id:
            raise TurnFailed(Reason.DECIDED_ELSEWHERE)
        if not (state := await self._restore(pending)):
            return
        call, stored_call = call_of(state), call_in_history(state)
        approved = dict(pending.get("approved", []))
        if await self._approvals.decide(state, yes):
            approved[call.call_id or ""] = pending["tool"]
        else:
            # A no counts from here on. A yes counts when its tool commits what it has done.
            await self.session.lease.update(closed())
            self._stream.tell(Settled(False, await self._approvals.declined(pending)))
        # Each approved call may write once: this one, and those that got their yes before it.
        self.session.close_approval(stored_call, len(approved))
        await self._go_on(state, approved)

    async def _restore(self, pending: Pending) -> RunState[Any] | None:
        """The run that waits. Tells it if there is none that can be read."""
        state = await self._approvals.restore(pending)
        if state is None:
            self._stream.tell(ApprovalLost())
        return state

    async def _go_on(
        self, state: RunState[Any] | None = None, approved: Mapping[str, str] | None = None
    ) -> None:
        """Let the agents work until there is an answer, or an approval is needed."""
        setup, session = self._setup, self.session
        while True:
            self._run = run = Run(
                setup,
                setup.agents.get(session.agent, setup.agent),
                state or [],
                earlier=self._run,
                approved=approved or {},
                stream=self._stream,
                session=session,
            )
            if self._stream.stopping:
                run.cancel()  # a decision is carried out all the same: the run ends with its tool
            try:
                await run.tell_all()
            except Exception as error:
                if failure(error).reason is Reason.MESSAGE_BLOCKED:  # never send it again
                    await session.refuse_messages()
                elif isinstance(error, OutputGuardrailTripwireTriggered) and run.withheld:
                    self._stream.tell(Settled(True, DONE))  # what it answered is told to nobody
                raise
            if self._stream.stopping or not run.result.interruptions:
                await self._end()
                return
            state, approved = run.result.to_state(), run.unsettled  # a yes, and not made yet
            if asked := await self._approvals.question_or_refuse(state):
                pending = await self._approvals.suspend(state, approved)
                await session.store((), {"pending": pending}, last=True)
                self._stream.tell(self._approvals.show(pending, asked))
                return

    async def _end(self) -> None:
        """Store what the run has not stored itself, if there was one, and tell how it ended."""
        run = self._run
        if run and run.overdue:
            await self._break_off(CUT_OFF, CutOff())
            return
        if self._stream.stopping or not run:
            await self._break_off(self._setup.words.stopped, Stopped())
            return
        output = run.result.final_output
        if unanswered(self.session.items) is not None:
            # A tool's output ends the run, or what a function of the builder's makes of it.
            text = output if isinstance(output, str) else to_json(output, fallback=str).decode()
            if output is None or not text.strip():
                raise TurnFailed(Reason.ANSWER_EMPTY)
            await self.session.store([assistant_item(text)], last=True)
            if text is output:
                self._stream.tell(Text(text))
        elif self.session.lease.held:  # the step with the answer did not look like the last
            await self.session.store(last=True)
        self._stream.tell(Finished(run.result.last_agent.name, output, self.usage))

    async def _break_off(self, mark: str, event: Event) -> None:
        """Store what was shown of an answer that has no end, with `mark`, and tell `event`."""
        if unanswered(self.session.items) is not None:
            words = self._run.unfinished.strip() if self._run else ""
            said = [assistant_item(f"{words} {mark}")] if words else []
            await self.session.store(said, last=True)
        self._stream.tell(event)

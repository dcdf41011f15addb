"""One turn: a task, the events that it tells, how it is stopped; one Runner call told as events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from typing import Any

from agents import (
    Agent,
    ModelResponse,
    RawResponsesStreamEvent,
    RunConfig,
    RunErrorHandlerInput,
    RunHooks,
    RunItemStreamEvent,
    Runner,
    RunResultStreaming,
    RunState,
    Usage,
)
from agents.items import MessageOutputItem, ToolApprovalItem, ToolCallItem, ToolCallOutputItem
from agents.memory import Session
from agents.stream_events import AgentUpdatedStreamEvent

from engine.events import Event, HandedOff, Settled, Stopped, Text, ToolStarted
from engine.history import text_of

MAX_MODEL_CALLS = 10  # in one turn
RUN_SECONDS = 300.0  # for these calls and the tools between; a running tool finishes
DELTAS = ("response.output_text.delta", "response.refusal.delta")


class Turn:
    """It lives for one turn. Its reader only reads a queue: the work goes on at its own pace."""

    def __init__(self) -> None:
        self.stopping = False
        self.said = False  # whether the customer has been shown any words
        self.unfinished = ""  # what was shown of a response that has not come to its end
        self.usage = Usage()  # of the model calls that came to their end
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._cancellable = True  # until the lease is held: then a cancel could cut a write
        self._result: RunResultStreaming | None = None
        # The tool calls that run now, by their ids; for one that was decided, its approval item.
        self._calls: dict[str | None, ToolApprovalItem | None] = {}
        self._complete = False  # whether the response under way has come to its end

    def tell(self, event: Event) -> None:
        self._events.put_nowait(event)

    async def stream(
        self, work: Callable[[Turn], Coroutine[Any, Any, None]]
    ) -> AsyncGenerator[Event, None]:
        """Run `work` as a task of its own, and yield what it tells; then raise what it raised.

        If the reader goes away, the work is stopped, and waited for.
        """
        task = self._task = asyncio.create_task(work(self))
        task.add_done_callback(lambda _: self._events.put_nowait(None))
        try:
            while (event := await self._events.get()) is not None:
                yield event
            if task.cancelled():
                yield Stopped()
            else:
                task.result()
        finally:
            if not task.done():
                self.stop()
                await asyncio.wait({task})
                if not task.cancelled():
                    task.exception()  # marked as seen: the reader has gone

    def stop(self) -> None:
        """Stop the answer under way. A running tool finishes, and a finished answer is stored."""
        self.stopping = True
        if self._cancellable and self._task:
            self._task.cancel()
        self._cancel_run()

    def hold(self) -> None:
        """The lease is held: from here on, a stop cancels nothing that could be a write."""
        self._cancellable = False

    def counts(self) -> dict[str, int]:
        """What this turn adds to `conversations.usage`; nothing if it called no model."""
        used = self.usage
        counts = {
            "calls": used.requests,
            "input_tokens": used.input_tokens,
            "cached_tokens": used.input_tokens_details.cached_tokens,
            "output_tokens": used.output_tokens,
        }
        return {f"usage.{name}": n for name, n in counts.items()} if used.requests else {}

    async def run(
        self,
        agent: Agent[Any],
        run_input: list[Any] | RunState[Any],
        *,
        context: Any,
        session: Session,
        run_config: RunConfig,
        approved: Callable[[ToolApprovalItem], Awaitable[str | None]],
    ) -> RunResultStreaming:
        """One Runner call, told as events.

        `approved` says what an approved tool has done, if `run_input` is a decided state.

        Raises what the SDK raises, and TimeoutError after RUN_SECONDS.
        """
        # A tool that was approved starts without an event of its own.
        decided = run_input.get_interruptions() if isinstance(run_input, RunState) else []
        self._calls = {call.call_id: call for call in decided}
        self._complete = False
        result = self._result = Runner.run_streamed(
            agent,
            run_input,
            context=context,
            session=session,
            run_config=run_config,
            hooks=_Counting(self.usage),
            max_turns=MAX_MODEL_CALLS,
            error_handlers={"max_turns": _too_many_steps, "model_refusal": _refused},
        )
        if self.stopping:
            self._cancel_run()
        # One timer: ModelSettings.timeout costs a task for each piece of an answer.
        timer = asyncio.get_running_loop().call_later(RUN_SECONDS, self._cancel_run)
        try:
            await self._tell_all(result, agent, approved)
        finally:
            timer.cancel()
            # After a cancel, the SDK calls itself complete, and may still be writing.
            if result.run_loop_task:
                await asyncio.wait({result.run_loop_task})
        if result.final_output is None and not result.interruptions and not self.stopping:
            raise TimeoutError
        return result

    def _cancel_run(self) -> None:
        if self._result:
            finish = self._calls or self._complete
            self._result.cancel("after_turn" if finish else "immediate")

    async def _tell_all(
        self,
        result: RunResultStreaming,
        agent: Agent[Any],
        approved: Callable[[ToolApprovalItem], Awaitable[str | None]],
    ) -> None:
        streamed, message = 0, None  # messages that came in pieces; the one that comes now
        async for event in result.stream_events():
            match event:
                case RawResponsesStreamEvent(data=data) if data.type in DELTAS:
                    delta, index = getattr(data, "delta", ""), getattr(data, "output_index", 0)
                    if not delta:
                        continue
                    if index != message:
                        message, streamed, delta = index, streamed + 1, self._apart(delta)
                    self.unfinished += delta
                    self.tell(Text(delta))
                case RawResponsesStreamEvent(data=data):
                    self._follow(data.type)
                case AgentUpdatedStreamEvent(new_agent=new) if new.name != agent.name:
                    agent = new
                    self.tell(HandedOff(agent.name))
                case RunItemStreamEvent(name="tool_called", item=ToolCallItem() as called):
                    self._calls[called.call_id] = None
                    self.tell(ToolStarted(called.tool_name or "a tool"))
                case RunItemStreamEvent(item=ToolCallOutputItem() as output):
                    call = self._calls.pop(output.call_id, None)
                    # Said by us: a model may tell something else, or fail to tell it.
                    if call and (done := await approved(call)):
                        self.tell(Settled(True, done))
                case RunItemStreamEvent(item=MessageOutputItem() as said):
                    # A message that no model streamed, such as the one on too many steps.
                    message, text = None, text_of(said.to_input_item())
                    if streamed:
                        streamed -= 1
                    elif text:
                        self.tell(Text(self._apart(text)))

    def _follow(self, kind: str) -> None:
        """A response begins or ends: what was streamed of it is not stored until it ends."""
        if kind == "response.created":
            self._complete, self.unfinished = False, ""
        elif kind in ("response.completed", "response.incomplete"):
            self._complete, self.unfinished = True, ""

    def _apart(self, text: str) -> str:
        """`text` as a paragraph of its own, if this turn has shown words before."""
        before, self.said = self.said, True
        return "\n\n" + text if before else text


class _Counting(RunHooks[Any]):
    """Adds up each model call; a resumed run's own count includes what came before the question."""

    def __init__(self, usage: Usage) -> None:
        self._usage = usage

    async def on_llm_end(self, context: Any, agent: Any, response: ModelResponse) -> None:
        self._usage.add(response.usage)


def _too_many_steps(_: RunErrorHandlerInput[Any]) -> str:
    return "I am sorry, I could not finish this. Please ask for one thing at a time."


def _refused(_: RunErrorHandlerInput[Any]) -> str:
    return "I am sorry, I cannot help with that."

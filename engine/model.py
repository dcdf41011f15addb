"""Between the agents and a model: what is sent fits every server, and what comes back is whole."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, cast

import anyio
import openai
from agents import Model, ModelProvider, ModelResponse, ModelSettings
from agents.items import TResponseStreamEvent

from engine.answer import Answer, mended
from engine.errors import ModelFailed, failure, is_known
from engine.events import Reason
from engine.history import fit

FIRST_SECONDS = 180.0  # until the first word: a local model may have to be loaded
STALL_SECONDS = 45.0  # between two pieces of an answer
LONGEST_PAUSE = 60.0  # seconds that a server may ask to wait before it is asked again
PASSING = (Reason.MODEL_BUSY, Reason.MODEL_UNREACHABLE, Reason.MODEL_SILENT)


@dataclass(frozen=True)
class Pause:
    """An event among those of a stream: after `seconds`, the server is asked again."""

    seconds: float
    type: str = "engine.pause"


class CheckedModel(Model):
    """`model`, for whatever server it speaks to.

    What is sent is `history.fit`. What comes back has the types that the API promises: the SDK
    trusts them, so a call whose name is null would end its run with a TypeError, and, once stored,
    every later run as well.
    """

    def __init__(
        self,
        model: Model,
        *,
        first_seconds: float = FIRST_SECONDS,
        stall_seconds: float = STALL_SECONDS,
        retries: int = 0,
        omit: Iterable[str] = (),
    ) -> None:
        """`first_seconds` until the first word, `stall_seconds` between two pieces. `retries`: how
        often a server that is busy or away is asked again, if the model's client does not do it.
        `omit`: names of the agents' ModelSettings that this model refuses."""
        self._model = model
        self._first_seconds = first_seconds
        self._stall_seconds = stall_seconds
        self._retries = retries
        self._omit = dict.fromkeys(omit)
        self._own: set[str] = set()  # ids of items that this model has made

    @classmethod
    def of(cls, model: Model) -> CheckedModel:
        """`model`, checked once."""
        return model if isinstance(model, cls) else cls(model)

    async def close(self) -> None:
        await self._model.close()

    def get_retry_advice(self, request: Any) -> Any:
        cause = request.error.__cause__
        if isinstance(request.error, ModelFailed) and isinstance(cause, Exception):
            request = replace(request, error=cause)
        return self._model.get_retry_advice(request)

    async def get_response(
        self,
        system_instructions: Any,
        input: Any,
        model_settings: ModelSettings,
        *args: Any,
        **kwargs: Any,
    ) -> ModelResponse:
        sent, settings = self._fit(input, kwargs), replace(model_settings, **self._omit)
        for attempt in itertools.count():
            try:
                with anyio.fail_after(self._first_seconds):
                    response = await self._model.get_response(
                        system_instructions, sent, settings, *args, **kwargs
                    )
                response.output = mended(response.output, input, self._own)
                return response
            except Exception as error:
                pause = self._pause(error, attempt)
                if pause is None:
                    raise blamed(error) from error
            await asyncio.sleep(pause)
        raise AssertionError("unreachable")

    async def stream_response(
        self,
        system_instructions: Any,
        input: Any,
        model_settings: ModelSettings,
        *args: Any,
        **kwargs: Any,
    ) -> AsyncIterator[TResponseStreamEvent]:
        sent, settings = self._fit(input, kwargs), replace(model_settings, **self._omit)
        for attempt in itertools.count():
            answer = Answer(input, self._own)
            try:
                stream = self._model.stream_response(
                    system_instructions, sent, settings, *args, **kwargs
                )
                async with aclosing(self._in_time(stream, answer)) as events:
                    async for event in events:
                        yield event
                return
            except Exception as error:
                pause = None if answer.begun else self._pause(error, attempt)
                if pause is None:
                    raise blamed(error) from error
            if pause > 1:
                yield cast(TResponseStreamEvent, Pause(pause))
            await asyncio.sleep(pause)

    def _fit(self, input: Any, request: dict[str, Any]) -> Any:
        # With one of these, the vendor holds the history, and `input` is only what is new.
        held = request.get("previous_response_id") or request.get("conversation_id")
        return input if held or not isinstance(input, list) else fit(input, self._own)

    async def _in_time(
        self, stream: AsyncIterator[Any], answer: Answer
    ) -> AsyncGenerator[TResponseStreamEvent, None]:
        """The events of `answer`. Raises TimeoutError if the next one takes too long."""
        watch = _Watch()
        try:
            while not answer.cut_off:
                seconds = self._stall_seconds if answer.begun else self._first_seconds
                event = await watch.wait(anext(stream, None), seconds)
                for each in answer.rest() if event is None else answer.events(event):
                    yield each
                if event is None:
                    return
        finally:
            watch.end()
            if aclose := getattr(stream, "aclose", None):
                await aclose()

    def _pause(self, error: Exception, attempt: int) -> float | None:
        """Seconds until the server is asked again; None if it is not.

        After a wait for the first word it is not: a model that is being loaded would start anew.
        """
        silent = isinstance(error, TimeoutError | openai.APITimeoutError)
        if attempt >= self._retries or silent or failure(error).reason not in PASSING:
            return None
        headers = getattr(getattr(error, "response", None), "headers", {})
        try:
            seconds = float(headers.get("retry-after", ""))
        except ValueError:  # none, or a date
            seconds = 0.5 * 2**attempt
        return seconds if seconds <= LONGEST_PAUSE else None


def blamed(error: Exception) -> Exception:
    """What to raise for `error`: the model is to blame for it, and not the builder's program."""
    return error if is_known(error) else ModelFailed(type(error).__name__)


class _Watch:
    """A limit of time for many short waits, with one timer: one for each costs much of a turn."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._waits: asyncio.Task[Any] | None = None  # only while it waits: else nothing to cancel
        self._deadline = 0.0
        self._late = False

    async def wait(self, piece: Awaitable[Any], seconds: float) -> Any:
        """The next piece. Raises TimeoutError if it does not come in time."""
        self._deadline = self._loop.time() + seconds
        if self._timer is None or self._timer.when() > self._deadline:
            self.end()
            self._timer = self._loop.call_at(self._deadline, self._look)
        self._waits = asyncio.current_task()
        try:
            return await piece
        except asyncio.CancelledError:
            if not self._late or _is_cancelled_otherwise(self._waits):
                raise
            raise TimeoutError from None
        finally:
            self._waits = None

    def end(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._waits is None:
            return  # the next wait starts another timer
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._look)
        else:
            self._late = self._waits.cancel()


def _is_cancelled_otherwise(task: asyncio.Task[Any] | None) -> bool:
    """Whether somebody else has cancelled `task` as well; Python 3.10 cannot tell."""
    return sys.version_info >= (3, 11) and task is not None and task.uncancel() > 0


class CheckedProvider(ModelProvider):
    """`provider`, with each model that it finds checked."""

    def __init__(self, provider: ModelProvider) -> None:
        self._provider = provider
        self._models: dict[str | None, Model] = {}  # each knows which items are its own

    def get_model(self, model_name: str | None) -> Model:
        if model_name not in self._models:
            self._models[model_name] = CheckedModel.of(self._provider.get_model(model_name))
        return self._models[model_name]

    async def aclose(self) -> None:
        await self._provider.aclose()

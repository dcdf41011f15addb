"""The model that the agents get: what is sent fits every server, and what comes back is whole."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, cast

import anyio
import openai
from agents import Model, ModelProvider, ModelResponse, ModelSettings
from agents.items import TResponseStreamEvent

from engine.errors import ModelFailed, blamed, failure
from engine.events import Reason
from engine.models.request import fit
from engine.models.response import Answer

FIRST_SECONDS = 180.0  # until the first word: a local model may have to be loaded
STALL_SECONDS = 45.0  # between two pieces of an answer
LONGEST_PAUSE = 60.0  # seconds that a server may ask to wait before it is asked again
MOST_IDS = 10_000  # are remembered, of all runs under way; without one, its item is sent without it
_NO_MORE = object()  # after the last event of a stream
PASSING = (Reason.MODEL_BUSY, Reason.MODEL_UNREACHABLE, Reason.MODEL_SILENT)


@dataclass(frozen=True)
class Pause:
    """An event among those of a stream: after `seconds`, the server is asked again."""

    seconds: float
    type: str = "engine.pause"


class CheckedModel(Model):
    """`model`, for whatever server it speaks to.

    What is sent is `request.fit`. What comes back has the types that the API promises: the SDK
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
        self._issued: dict[str, None] = {}  # ids of items that this model has made, oldest first

    @classmethod
    def of(cls, model: Model) -> CheckedModel:
        """`model`, checked once."""
        return model if isinstance(model, cls) else cls(model)

    async def close(self) -> None:
        await self._model.close()

    def _supports_default_prompt_cache_key(self) -> bool:  # the SDK asks for it by this name
        supports = getattr(self._model, "_supports_default_prompt_cache_key", None)
        return bool(supports and supports())

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
        sent, settings = self._to_send(input, model_settings, kwargs)
        for attempt in itertools.count():
            try:
                with anyio.fail_after(self._first_seconds):
                    response = await self._model.get_response(
                        system_instructions, sent, settings, *args, **kwargs
                    )
                response.output = Answer(input, self._issued).items(response.output)
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
        sent, settings = self._to_send(input, model_settings, kwargs)
        for attempt in itertools.count():
            answer = Answer(input, self._issued)
            try:
                stream = self._model.stream_response(
                    system_instructions, sent, settings, *args, **kwargs
                )
                pieces = _in_time(stream, answer, self._first_seconds, self._stall_seconds)
                async with aclosing(pieces):
                    async for piece in pieces:
                        yield piece
                return
            except Exception as error:
                pause = None if answer.begun else self._pause(error, attempt)
                if pause is None:
                    raise blamed(error) from error
            if pause > 1:
                yield cast(TResponseStreamEvent, Pause(pause))
            await asyncio.sleep(pause)

    def _to_send(
        self, input: Any, settings: ModelSettings, request: dict[str, Any]
    ) -> tuple[Any, ModelSettings]:
        while len(self._issued) > MOST_IDS:
            del self._issued[next(iter(self._issued))]
        # With one of these, the vendor holds the history, and `input` is only what is new.
        held = request.get("previous_response_id") or request.get("conversation_id")
        if isinstance(input, list) and not held:
            input = fit(input, self._issued)
        return input, replace(settings, **self._omit) if self._omit else settings

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


async def _in_time(
    stream: AsyncIterator[Any], answer: Answer, first: float, stall: float
) -> AsyncGenerator[Any, None]:
    """What `answer` makes of the events of `stream`. Raises TimeoutError if the next one takes
    longer than `first` seconds, or than `stall` once the answer has begun.

    One timer looks, from time to time, how long the wait has lasted: one for each event would cost
    much of a turn.
    """
    loop = asyncio.get_running_loop()
    waits: asyncio.Task[Any] | None = None  # only while it waits: else there is nothing to cancel
    deadline, late = 0.0, False
    timer: asyncio.TimerHandle

    def look() -> None:
        nonlocal timer, late
        if waits and deadline <= loop.time():
            late = waits.cancel()
            return
        again = loop.time() + min(first, stall)  # no wait that begins from now on ends before
        timer = loop.call_at(min(again, deadline) if waits else again, look)

    timer = loop.call_later(min(first, stall), look)
    try:
        while True:
            deadline = loop.time() + (stall if answer.begun else first)
            waits = asyncio.current_task(loop)
            event = await anext(stream, _NO_MORE)
            waits, ended = None, event is _NO_MORE
            for each in answer.rest() if ended else answer.events(event):
                yield each
            if ended or answer.cut_off:
                return
    except asyncio.CancelledError:
        if not late or _is_cancelled_otherwise(waits):
            raise
        raise TimeoutError from None
    finally:
        timer.cancel()
        if aclose := getattr(stream, "aclose", None):
            await aclose()


def _is_cancelled_otherwise(task: asyncio.Task[Any] | None) -> bool:
    """Whether somebody else has cancelled `task` as well; Python 3.10 cannot tell."""
    return sys.version_info >= (3, 11) and task is not None and task.uncancel() > 0


class CheckedProvider(ModelProvider):
    """`provider`, with each model that it finds checked."""

    def __init__(self, provider: ModelProvider) -> None:
        self._provider = provider
        self._models: dict[str | None, Model] = {}  # each knows the ids that it has issued

    def get_model(self, model_name: str | None) -> Model:
        if model_name not in self._models:
            self._models[model_name] = CheckedModel.of(self._provider.get_model(model_name))
        return self._models[model_name]

    async def aclose(self) -> None:
        await self._provider.aclose()

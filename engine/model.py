"""A model whose output has the types that the API promises, whatever its server sends."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

from agents import Model, ModelProvider, ModelResponse
from agents.items import TResponseStreamEvent
from pydantic import BaseModel

from engine.errors import ModelFailed, is_known
from engine.history import repaired
from engine.text import clean


class CheckedModel(Model):
    """`model`, with each ill-formed item repaired or left out before the SDK sees it.

    The SDK trusts these types: a call whose name is null ends its run with a TypeError, and once
    stored, it ends every later run as well.
    """

    def __init__(self, model: Model) -> None:
        self._model = model

    @classmethod
    def of(cls, model: Model) -> CheckedModel:
        """`model`, checked once."""
        return model if isinstance(model, cls) else cls(model)

    async def close(self) -> None:
        await self._model.close()

    def get_retry_advice(self, request: Any) -> Any:
        cause = request.error.__cause__
        if isinstance(request.error, ModelFailed) and isinstance(cause, Exception):
            request = dataclasses.replace(request, error=cause)
        return self._model.get_retry_advice(request)

    async def get_response(
        self, system_instructions: Any, input: Any, *args: Any, **kwargs: Any
    ) -> ModelResponse:
        with _blamed():
            response = await self._model.get_response(system_instructions, input, *args, **kwargs)
            response.output = _checked(response.output, input)
            return response

    async def stream_response(
        self, system_instructions: Any, input: Any, *args: Any, **kwargs: Any
    ) -> AsyncIterator[TResponseStreamEvent]:
        stream = self._model.stream_response(system_instructions, input, *args, **kwargs)
        with _blamed():
            async for event in stream:
                if (checked := _checked_event(event, input)) is not None:
                    yield checked


class CheckedProvider(ModelProvider):
    """`provider`, with each model that it finds checked."""

    def __init__(self, provider: ModelProvider) -> None:
        self._provider = provider

    def get_model(self, model_name: str | None) -> Model:
        return CheckedModel.of(self._provider.get_model(model_name))

    async def aclose(self) -> None:
        await self._provider.aclose()


@contextlib.contextmanager
def _blamed() -> Iterator[None]:
    """The model is to blame for what is raised here, and not the builder's program."""
    try:
        yield
    except Exception as error:
        if is_known(error):
            raise
        raise ModelFailed(type(error).__name__) from error


def _checked_event(event: Any, request: Iterable[Any]) -> Any:
    """`event`, repaired; None if nothing can be made of it."""
    if hasattr(event, "delta"):
        if not isinstance(event.delta, str):
            return None
        event.delta = clean(event.delta.replace("\r", ""))  # "\r\n" may come in two
    if hasattr(event, "item"):
        checked = _checked([event.item], request)
        if not checked:
            return None
        event.item = checked[0]
    if hasattr(event, "response"):
        event.response.output = _checked(event.response.output, request)
    return event


def _checked(output: Iterable[Any] | None, request: Iterable[Any]) -> list[Any]:
    models: list[Any] = [item for item in output or [] if isinstance(item, BaseModel)]
    checked = [item for item in models if _repair(item)]
    taken = {item.get("call_id") for item in request if isinstance(item, dict)}
    for item in checked:
        # Some servers count calls anew in each response; the SDK then ends the run.
        if item.type == "function_call" and item.call_id in taken:
            item.call_id = f"{item.call_id}_{len(taken)}"
    return checked


def _repair(item: Any) -> bool:
    """Repair `item` in place; False if nothing can be made of it."""
    raw = item.model_dump(exclude_unset=True, warnings=False)
    fixed = repaired(raw, from_model=True)
    if fixed is None or not isinstance(fixed.get("type"), str):
        return False
    for name, value in fixed.items():
        if name != "content" and value != raw[name]:
            setattr(item, name, value)
    if item.type == "message":
        item.content = [part for part in item.content or [] if isinstance(part, BaseModel)]
        for part in item.content:
            for name in ("text", "refusal"):
                words = getattr(part, name, None)
                if words is not None:
                    setattr(part, name, clean(words) if isinstance(words, str) else "")
    return True

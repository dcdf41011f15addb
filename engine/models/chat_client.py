"""A client whose chat completions are what the SDK expects, whatever server sends them.

The SDK makes one response of the chunks of a stream, and what is lost then cannot be mended behind
it: that the answer was cut off, and which piece belongs to which of two calls.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import cached_property
from typing import Any, Literal

from openai import AsyncOpenAI, AsyncStream
from openai.resources.chat import AsyncChat, AsyncCompletions
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.chat.chat_completion_chunk import (
    Choice,
    ChoiceDelta,
    ChoiceDeltaToolCall,
    ChoiceDeltaToolCallFunction,
)

from engine.history import CUT_OFF
from engine.models.items import is_object

CUT = ("length", "content_filter")  # a server's reasons to end an answer early
REASONING = ("reasoning_content", "reasoning")
# Gemini wants its signature on each call of a turn; this is its name for a call of another model.
UNSIGNED = {"google": {"thought_signature": "skip_thought_signature_validator"}}

# Whether reasoning goes back to the server. `auto`: as the SDK decides by the model's name.
Replay = Literal["auto", "always", "never"]


class ChatClient(AsyncOpenAI):
    """An AsyncOpenAI for OpenAIChatCompletionsModel."""

    replay_reasoning: Replay = "auto"

    @cached_property
    def chat(self) -> AsyncChat:
        return _Chat(self)


class _Chat(AsyncChat):
    @cached_property
    def completions(self) -> AsyncCompletions:
        return _Completions(self._client)


class _Completions(AsyncCompletions):
    async def create(self, **request: Any) -> Any:
        client = self._client
        replay = client.replay_reasoning if isinstance(client, ChatClient) else "auto"
        request["messages"] = fit(request["messages"], str(request["model"]), replay)
        answer = await super().create(**request)
        if isinstance(answer, AsyncStream):
            return _Chunks(answer)
        for choice in answer.choices or [] if isinstance(answer, ChatCompletion) else []:
            if choice.finish_reason in CUT and choice.message.content:
                choice.message.content = f"{choice.message.content.rstrip()} {CUT_OFF}"
        return answer


def fit(messages: list[Any], model: str, replay: Replay) -> list[Any]:
    """`messages` as the SDK made them, with what a server's template asks for beyond that."""
    sent: list[Any] = []
    for message in messages:
        message = dict(message)
        if replay == "never":
            message = {name: value for name, value in message.items() if name not in REASONING}
        calls, before = message.get("tool_calls"), sent[-1] if sent else {}
        wanted = replay == "always" or (replay == "auto" and "deepseek" in model.lower())
        if calls and wanted:  # with each call, also with another model's
            message.setdefault("reasoning_content", "")
        if calls and before.get("role") == "assistant" and not before.get("tool_calls"):
            # The words before a call are part of its message: roles must alternate.
            words = sent.pop().get("content")
            message["content"] = message.get("content") or words
        if calls and "gemini" in model.lower():
            message["tool_calls"] = [{"extra_content": UNSIGNED, **call} for call in calls]
        sent.append(message)
    return sent


class _Chunks:
    """The chunks of one stream, mended."""

    def __init__(self, stream: AsyncStream[ChatCompletionChunk]) -> None:
        self.response = stream.response
        self._stream = stream
        self._said = self._finished = False
        self._ids: set[str] = set()  # of the calls
        self._places: dict[int, int] = {}  # of the calls, by the places that the server gave
        self._arguments: dict[int, str] = {}  # of the calls, by their places
        self._sent = stream._iter_events
        stream._iter_events = self._noting_the_end  # type: ignore[method-assign]

    async def close(self) -> None:
        await self._stream.close()

    async def __aiter__(self) -> AsyncIterator[ChatCompletionChunk]:
        chunk, cut = None, False
        async for chunk in self._stream:
            choice = next((c for c in chunk.choices or [] if c.index == 0), None)
            if choice and choice.delta:
                self._follow(choice.delta)
            if choice and choice.finish_reason:
                self._finished = True
                cut = choice.finish_reason in CUT and bool(self._said or self._arguments)
                if choice.finish_reason == "length":
                    choice.finish_reason = "stop"  # without words, the SDK takes it for an error
            yield chunk
            if cut:
                yield self._cut(chunk)
                cut = False
        if chunk and not self._finished and (self._said or self._arguments):
            yield self._cut(chunk)

    async def _noting_the_end(self) -> AsyncIterator[Any]:
        # Some servers and gateways never say why an answer ends. If one says that the stream is
        # done, it is whole; a connection that breaks says nothing.
        async for event in self._sent():
            self._finished = self._finished or event.data.startswith("[DONE]")
            yield event

    def _follow(self, delta: ChoiceDelta) -> None:
        self._said = self._said or bool(delta.content and delta.content.strip())
        for call in delta.tool_calls or []:
            # Some servers give several calls the same place: the SDK would make one of them.
            if call.id and call.id not in self._ids and call.function and call.function.name:
                self._ids.add(call.id)
                free = call.index not in self._arguments
                self._places[call.index] = call.index if free else max(self._arguments) + 1
            call.index = self._places.get(call.index, call.index)
            arguments = (call.function and call.function.arguments) or ""
            self._arguments[call.index] = self._arguments.get(call.index, "") + arguments

    def _cut(self, like: ChatCompletionChunk) -> ChatCompletionChunk:
        """What ends an answer that was cut off: a mark, or a call that no tool can take."""
        delta = ChoiceDelta(content=f" {CUT_OFF}")
        if self._arguments:
            place, arguments = list(self._arguments.items())[-1]
            if is_object(arguments):
                delta = ChoiceDelta()
            else:
                function = ChoiceDeltaToolCallFunction(arguments="" if arguments else "{")
                delta = ChoiceDelta(
                    tool_calls=[ChoiceDeltaToolCall(index=place, function=function)]
                )
        choice = Choice(index=0, delta=delta, finish_reason=None)
        return like.model_copy(update={"choices": [choice], "usage": None})

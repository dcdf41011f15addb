"""What other providers' servers refuse, one rule each, in our own words; from public reports.

    with ModelServer([...], rule=RULES["mistral"]) as server: ...

docs/servers.md has the same list for readers.
"""

from __future__ import annotations

import itertools
import json
import re
import secrets

from tests.model_server import Json, Refused, Rule

THOUGHT = "The customer wants something."


def nine_letters(_: Json, messages: list[Json]) -> None:
    for call_id in call_ids(messages):
        if not re.fullmatch("[a-zA-Z0-9]{9}", call_id):
            text = f"Tool call id was {call_id} but must be a-z, A-Z, 0-9, with a length of 9."
            raise Refused(text)
    for before, message in itertools.pairwise(messages):
        if before["role"] == "tool" and message["role"] == "user":
            raise Refused("Unexpected role 'user' after role 'tool'")
    alternate(_, messages)


def short_id(item: Json) -> None:
    if "call_id" in item:
        item["call_id"] = secrets.token_hex(5)[:9]


def alternate(_: Json, messages: list[Json]) -> None:
    """A template counts the messages that are no calls, no outputs and no instructions."""
    spoken = [
        message["role"]
        for message in messages
        if message["role"] == "user"
        or (message["role"] == "assistant" and not message.get("tool_calls"))
    ]
    if any(role != ("user", "assistant")[n % 2] for n, role in enumerate(spoken)):
        raise Refused("Conversation roles must alternate user/assistant/user/assistant/...")


def reasoning_back(body: Json, messages: list[Json]) -> None:
    if any(m.get("tool_calls") and "reasoning_content" not in m for m in messages):
        text = "The `reasoning_content` in the thinking mode must be passed back to the API."
        raise Refused(text)


def thinks_beside(message: Json) -> None:
    if message.pop("thought", None):
        message["reasoning_content"] = THOUGHT


def thinks_aloud(item: Json) -> None:
    for part in item.get("content") or []:
        part["text"] = f"<think>\n{THOUGHT}\n</think>\n\n{part['text']}"


def no_thoughts(_: Json, messages: list[Json]) -> None:
    if any(THOUGHT in str(message) for message in messages):
        raise Refused("A thought was sent back.")  # ours: no server refuses it


def known_fields(body: Json, messages: list[Json]) -> None:
    known = {"role", "content", "tool_calls", "tool_call_id", "name"}
    for index, message in enumerate(messages):
        if unknown := message.keys() - known:
            raise Refused(f"'messages.{index}': property '{min(unknown)}' is unsupported")
    items = body.get("input") or []
    if any(item.get("type") == "reasoning" for item in items if isinstance(item, dict)):
        raise Refused("Unsupported input item: reasoning")


def words_and_objects(_: Json, messages: list[Json]) -> None:
    for index, message in enumerate(messages):
        content = message.get("content")
        if isinstance(content, str) and not content.strip():
            raise Refused(f"messages.{index}: text content blocks must contain non-whitespace text")
        for made in message.get("tool_calls") or []:
            try:
                given = json.loads(made["function"]["arguments"], parse_constant=int)
            except ValueError:  # also NaN, which Python alone reads
                given = None
            if not isinstance(given, dict):
                text = f"messages.{index}: tool_use.input: Input should be a valid dictionary"
                raise Refused(text)


def signatures_back(_: Json, messages: list[Json]) -> None:
    asked = max((n for n, m in enumerate(messages) if m["role"] == "user"), default=0)
    for message in messages[asked:]:
        for made in (message.get("tool_calls") or [])[:1]:
            signature = made.get("extra_content", {}).get("google", {}).get("thought_signature")
            if signature not in ("c2lnbmVk", "skip_thought_signature_validator"):
                name = made["function"]["name"]
                raise Refused(f"Function call `{name}` is missing a thought_signature.")


def signed_calls(message: Json) -> None:
    for made in message.get("tool_calls", []):
        made["place"] = 0
        made["extra_content"] = {"google": {"thought_signature": "c2lnbmVk"}}


def no_parallel_tool_calls(body: Json, _: list[Json]) -> None:
    if "parallel_tool_calls" in body:
        raise Refused("'parallel_tool_calls' is not supported with this model.")


def typed_answers(body: Json, _: list[Json]) -> None:
    items = body.get("input") or []
    if any(item.get("role") == "assistant" and "type" not in item for item in items):
        raise Refused("Cannot determine type of 'item'")


def no_stream_options(body: Json, _: list[Json]) -> None:
    if "stream_options" in body:
        raise Refused("Extra inputs are not permitted: stream_options", status=422)


def call_ids(messages: list[Json]) -> list[str]:
    made = [made["id"] for m in messages for made in m.get("tool_calls") or []]
    return [*made, *(m["tool_call_id"] for m in messages if m["role"] == "tool")]


CHAT_ONLY = ("chat_completions",)
RULES = {
    "openai": Rule("the vendor's own server"),
    "mistral": Rule(
        "call ids of nine letters or digits; no customer after a tool; roles alternate",
        nine_letters,
        shape_item=short_id,
    ),
    "gemma": Rule("a template in which the roles alternate", alternate),
    "deepseek": Rule(
        "the reasoning of every call comes back",
        reasoning_back,
        thinks_beside,
        apis=CHAT_ONLY,
        settings={"OPENAI_MODEL": "deepseek-v4-pro"},
    ),
    "kimi": Rule(
        "the reasoning of every call comes back, under a name that the SDK does not know",
        reasoning_back,
        thinks_beside,
        apis=CHAT_ONLY,
        settings={"OPENAI_MODEL": "kimi-k3", "OPENAI_REPLAY_REASONING": "always"},
    ),
    "groq": Rule(
        "no reasoning and no unknown field comes back",
        known_fields,
        thinks_beside,
        has_reasoning_items=False,
    ),
    "r1": Rule("thoughts are in the text", no_thoughts, shape_item=thinks_aloud),
    "bedrock": Rule("no blank text; arguments are a JSON object", words_and_objects),
    "gemini": Rule(
        "the signature of each call of this turn comes back; all calls have place 0",
        signatures_back,
        signed_calls,
        apis=CHAT_ONLY,
        settings={"OPENAI_MODEL": "gemini-3-flash"},
    ),
    "o3": Rule(
        "no parallel_tool_calls", no_parallel_tool_calls, settings={"OPENAI_MODEL": "o3-mini"}
    ),
    "llama.cpp": Rule("an answer that comes back says that it is a message", typed_answers),
    "no usage": Rule(
        "no stream_options",
        no_stream_options,
        apis=CHAT_ONLY,
        settings={"OPENAI_INCLUDE_USAGE": "false"},
    ),
}

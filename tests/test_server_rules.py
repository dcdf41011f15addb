"""The same conversation on every server: each refuses something else and answers its own way."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from agents import Agent, Runner
from agents.testing import ScriptedModel, assistant_message

import main
from database import Database
from engine.conversation import Conversation
from engine.events import CutOff, Reason, ServerBusy, TurnFailed
from engine.history import CUT_OFF, tokens_in, without_thoughts
from engine.models.checked import MOST_IDS, CheckedModel
from engine.models.request import fit, for_model
from engine.models.response import Thoughts
from engine.options import Limits
from settings import CHOICES, NUMBERS, choose_model
from terminal.chat import words_of_usage
from tests.builders import RETURN, answer_of, approval_of, events, failure_of, text_of, told
from tests.conftest import TODAY, customer_of, session_for
from tests.model_server import (
    ModelServer,
    Reply,
    call,
    fail,
    hang,
    messages_of,
    raw,
    say,
    sse,
    stop_early,
    think,
)
from tests.processes import ROOT
from tests.server_rules import RULES, THOUGHT

APIS = ("responses", "chat_completions")
UNDER_EVERY_RULE = [(name, api) for name, rule in RULES.items() for api in rule.apis]

Login = Callable[..., Awaitable[Conversation]]


@pytest.fixture
def login(db: Database, monkeypatch: pytest.MonkeyPatch) -> Login:
    """A fresh process's conversation, on the model that the settings name."""

    async def login(server: ModelServer, api: str = "responses", **more: str) -> Conversation:
        wanted = {"OPENAI_API_KEY": server.api_key, "OPENAI_BASE_URL": server.base_url}
        wanted |= {"OPENAI_API": api, "OPENAI_MODEL": "test"} | dict(server.rule.settings) | more
        for name, value in wanted.items():
            monkeypatch.setenv(name, value)
        return await main.open_conversation(
            db.client, customer_of(), *choose_model(False), database=db.name, now=lambda: TODAY
        )

    return login


@asynccontextmanager
async def served(
    login: Login, rule: str, api: str, *script: Reply
) -> AsyncIterator[tuple[Conversation, ModelServer]]:
    """A conversation on a server with these replies."""
    with ModelServer(script, rule=RULES[rule]) as server:
        yield await login(server, api), server


# Under every rule


@pytest.mark.parametrize(("rule", "api"), UNDER_EVERY_RULE)
async def test_the_same_conversation_goes_through_under_every_rule(
    db: Database, login: Login, rule: str, api: str
) -> None:
    """A tool call, a question, yes, the next message, a restart, the next message."""
    script = [
        think() + say("One moment.") + call("transfer_to_orders"),
        think() + call("list_orders"),
        think() + say("Let me see.") + call("initiate_return", RETURN),
        think() + say("Done."),
        think() + say("You are welcome."),
        think() + call("get_order", {"order_id": "ORD-1002"}),
        think() + say("It was shipped."),
        say("Bye."),
    ]
    async with served(login, rule, api, *script) as (first, server):
        approval = await approval_of(first.turn("return my laptop"))
        assert await answer_of(first.decide(approval, True)) == "Done."
        assert await answer_of(first.turn("thank you")) == "You are welcome."
        second = await login(server, api)
        assert await answer_of(second.turn("where is ORD-1002?")) == "It was shipped."
        assert await answer_of(second.turn("bye")) == "Bye."
    order = await db.orders.find_one({"_id": "ORD-1001"})
    assert order and order["return"]["refund_cents"] == 148_498
    assert THOUGHT not in str(await second.transcript())


@pytest.mark.parametrize(("rule", "api"), UNDER_EVERY_RULE)
async def test_other_words_a_restart_and_a_failure_go_through_under_every_rule(
    db: Database, login: Login, rule: str, api: str
) -> None:
    """Other words at a question, a yes after a restart, a message that failed, and /retry."""
    blank = say(" ") if rule != "r1" else say("Hm.")
    script = [
        think() + call("transfer_to_orders"),
        think() + call("initiate_return", RETURN),
        think() + blank + call("list_orders"),
        think() + call("initiate_return", RETURN),
        think() + say("Done."),
        fail(400),
        think() + call("list_orders"),
        fail(400),
        think() + say("Two orders."),
        say("Bye."),
    ]
    async with served(login, rule, api, *script) as (first, server):
        await approval_of(first.turn("return my laptop"))
        await approval_of(first.turn("wait, which one was it?"))
        second = await login(server, api)
        approval = await approval_of(second.resume())
        assert await answer_of(second.decide(approval, True)) == "Done."
        for message in ("hello?", "are you there?"):
            assert "refused the request" in str(await failure_of(second.turn(message)))
        assert await answer_of(second.retry()) == "Two orders."
        assert await answer_of(second.turn("bye")) == "Bye."


@pytest.mark.parametrize("before", ["openai", "mistral", "deepseek", "gemini"])
@pytest.mark.parametrize("after", ["mistral", "deepseek", "groq", "gemini", "openai"])
async def test_another_server_takes_over_in_the_middle_of_a_question(
    db: Database, login: Login, before: str, after: str
) -> None:
    """What is bound to one server (ids, reasoning, signatures) is not sent to another."""
    api = "responses" if before == "openai" else "chat_completions"
    script = [think() + call("transfer_to_orders"), think() + call("initiate_return", RETURN)]
    with ModelServer([*script, say("I wait.")], rule=RULES[before]) as server:
        approval = await approval_of((await login(server, api)).turn("return my laptop"))
    script = [think() + say("Done."), say("Bye.")]
    for each in RULES[after].apis:
        async with served(login, after, each, *script) as (conversation, server):
            if each == RULES[after].apis[0]:
                approval = await approval_of(conversation.resume())
                assert await answer_of(conversation.decide(approval, True)) == "Done."
            else:
                assert await answer_of(conversation.turn("thanks")) == "Done."
            assert await answer_of(conversation.turn("bye")) == "Bye."


# What comes back


# A brace is missing; two calls in one; a list; a number; not a number.
BAD_ARGUMENTS = ['{"order_id": "ORD-1001"', "{}{}", "[]", "7", '{"order_id": NaN}']


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("arguments", BAD_ARGUMENTS)
async def test_arguments_that_are_no_object_poison_no_turn(
    login: Login, arguments: str, api: str
) -> None:
    """Not the same turn, not /retry, not the next one; and no tool runs with half of them."""
    script = [
        call("transfer_to_orders"),
        call("get_order", arguments),
        fail(400),
        call("initiate_return", arguments),
        say("Sorry."),
        say("Bye."),
    ]
    async with served(login, "bedrock", api, *script) as (conversation, server):
        assert "refused the request" in str(await failure_of(conversation.turn("where is it?")))
        assert await answer_of(conversation.retry()) == "Sorry."
        assert await answer_of((await login(server, api)).turn("bye")) == "Bye."
        outputs = [m["content"] for m in messages_of(server.requests[-1]) if m["role"] == "tool"]
    assert len(outputs) == 3 and not any("Aero 14" in output for output in outputs)


async def test_two_calls_with_one_place_stay_two_calls(login: Login) -> None:
    two = call("get_order", {"order_id": "ORD-1001"}) + call("get_order", {"order_id": "ORD-1002"})
    script = [call("transfer_to_orders"), two, say("Both are here.")]
    async with served(login, "gemini", "chat_completions", *script) as (conversation, server):
        assert await answer_of(conversation.turn("both?")) == "Both are here."
        *_, one, other = server.requests[-1]["messages"]
    assert "ORD-1001" in one["content"] and "ORD-1002" in other["content"]


UNSAID = stop_early(say("<think>Let me"), "length")  # cut off before the first word


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("answer", [*map(say, (" ", "\n\n", "\t\u00a0")), UNSAID])
async def test_an_answer_of_blanks_is_an_empty_answer(
    login: Login, answer: Reply, api: str
) -> None:
    """And one of thoughts alone."""
    script = [answer, say("Hello."), say("Bye.")]
    async with served(login, "bedrock", api, *script) as (conversation, server):
        assert "empty answer" in str(await failure_of(conversation.turn("hello?")))
        again = await login(server, api)
        assert again.unanswered == "hello?"
        assert await answer_of(again.retry()) == "Hello."
        assert await answer_of(again.turn("bye")) == "Bye."
    said = [m.text for m in await again.transcript()]
    assert said == ["hello?", "Hello.", "bye", "Bye."]


OLD: list[Any] = [
    {"role": "user", "content": "my orders?"},
    {"type": "function_call", "call_id": "call_0", "name": "list_orders", "arguments": "{}{}"},
    {"type": "function_call_output", "call_id": "call_0", "output": ""},
    {"role": "assistant", "content": [{"type": "output_text", "text": "<think>Hm</think> Two."}]},
    {"role": "user", "content": "and?"},
    {"type": "function_call", "call_id": "call_0", "name": "list_orders", "arguments": '{"a'},
    {"type": "function_call_output", "call_id": "call_0", "output": "none"},
    {"role": "assistant", "content": [{"type": "output_text", "text": "\n"}]},
    {"role": "user", "content": "well?"},
    {"type": "function_call", "call_id": "call_1", "name": "list_orders", "arguments": "{}"},
]


@pytest.mark.parametrize(("rule", "api"), UNDER_EVERY_RULE)
async def test_an_old_conversation_heals_when_it_is_sent(
    db: Database, login: Login, rule: str, api: str
) -> None:
    await session_for(db).add_items(OLD)
    with ModelServer([say("Still here.")], rule=RULES[rule]) as server:
        assert await answer_of((await login(server, api)).turn("hi")) == "Still here."


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("why", ["length", "content_filter", "nothing"])
async def test_an_answer_that_was_cut_off_is_kept_and_marked(
    login: Login, why: str, api: str
) -> None:
    script = [stop_early(say("Your order was"), why), say("Go on.")]
    async with served(login, "openai", api, *script) as (conversation, server):
        seen = await events(conversation.turn("where is it?"))
        assert (text_of(seen), CutOff() in seen) == (f"Your order was {CUT_OFF}", True)
        again = await login(server, api)
        assert again.unanswered is None
        assert await answer_of(again.turn("go on")) == "Go on."
        assert f"Your order was {CUT_OFF}" in str(server.requests[-1])
    assert (await again.transcript())[1].text == f"Your order was {CUT_OFF}"


async def test_a_stream_that_is_done_without_a_reason_is_whole(login: Login) -> None:
    """Some servers and gateways never send a `finish_reason`. Half a call is still not made."""
    half = call("get_order", '{"order_id": "ORD-10')
    script = [call("transfer_to_orders"), call("list_orders"), half, say("Both are here.")]
    script = [stop_early(each, "[DONE]") for each in script]
    async with served(login, "openai", "chat_completions", *script) as (conversation, server):
        seen = await events(conversation.turn("my orders?"))
        assert (text_of(seen), CutOff() in seen) == ("Both are here.", False)
        *_, listed, _, refused = messages_of(server.requests[-1])
    assert "ORD-1001" in listed["content"]
    assert "ORD-1001" not in refused["content"] and refused["role"] == "tool"


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("why", ["length", "nothing"])
@pytest.mark.parametrize("piece", ["", '{"order_id": "ORD-10'])
async def test_a_call_that_was_cut_off_is_not_made(
    login: Login, why: str, piece: str, api: str
) -> None:
    cut = stop_early(call("list_orders", piece or " "), why)
    script = [call("transfer_to_orders"), cut, say("Sorry."), say("Bye.")]
    async with served(login, "bedrock", api, *script) as (conversation, server):
        try:
            assert await answer_of(conversation.turn("my orders?")) == "Sorry."
        except TurnFailed as failed:
            assert "empty answer" in str(failed)
            assert await answer_of(conversation.retry()) == "Sorry."
        assert await answer_of(conversation.turn("bye")) == "Bye."
        assert "Aero 14" not in str(server.requests)


# Waits, counts and errors


@pytest.mark.parametrize("api", APIS)
async def test_a_first_word_may_take_long_and_a_piece_may_not(login: Login, api: str) -> None:
    """A model that is being loaded is not asked again: it would start anew."""
    waits = {"OPENAI_FIRST_SECONDS": "1.5", "OPENAI_STALL_SECONDS": "0.3"}
    script = [say("Here I am."), hang(), say("One two three.", delay=0.6), say("At last.")]
    with ModelServer(script) as server:
        start = server.hold()
        conversation = await login(server, api, **waits)
        turn = asyncio.create_task(answer_of(conversation.turn("hello?")))
        await asyncio.to_thread(start.wait_reached)
        await asyncio.sleep(0.8)
        start.release()
        assert await turn == "Here I am."
        for told in ("silence", "a stall"):
            assert "The model did not answer" in str(await failure_of(conversation.turn(told)))
        assert len(server.requests) == 3
        assert await answer_of(conversation.retry()) == "At last."


@pytest.mark.parametrize("api", APIS)
async def test_a_busy_server_is_waited_for_and_the_customer_is_told(login: Login, api: str) -> None:
    busy = fail(429, "rate_limit_exceeded", headers={"Retry-After": "2"})
    with ModelServer([busy, fail(503), say("Here I am.")]) as server:
        seen = await events((await login(server, api)).turn("hello?"))
    # The pause after the 503 is too short to be told.
    assert (text_of(seen), told(seen, ServerBusy)) == ("Here I am.", [ServerBusy(2.0)])
    busy = fail(429, headers={"Retry-After": "3600"})
    with ModelServer([busy]) as server, pytest.raises(TurnFailed, match="The model is busy"):
        await events((await login(server, api)).turn("and now?"))


@pytest.mark.parametrize(("asked", "known"), [("true", True), ("false", False)])
async def test_tokens_are_counted_over_chat_completions_and_unknown_is_not_0(
    db: Database, login: Login, asked: str, known: bool
) -> None:
    with ModelServer([say("Hello.")]) as server:
        conversation = await login(server, "chat_completions", OPENAI_INCLUDE_USAGE=asked)
        await events(conversation.turn("hi"))
    counted = {"calls": 1, "input_tokens": 100, "cached_tokens": 0, "output_tokens": 10}
    stored = (await db.conversations.find_one({}))["usage"]
    assert stored == (counted if known else {"calls": 1})
    assert ("did not count" in words_of_usage(conversation.usage)) != known


def failed_response(code: str) -> Reply:
    error = {"code": code, "message": "It failed."}
    response = {"id": "resp_1", "object": "response", "status": "failed", "error": error}
    more = {"created_at": 1, "model": "m", "output": [], "tools": [], "tool_choice": "auto"}
    response |= more | {"parallel_tool_calls": True}
    return raw(sse({"type": "response.failed", "response": response, "sequence_number": 0}))


def in_stream(code: str) -> Reply:
    return raw(sse({"type": "error", "code": code, "message": "It failed.", "param": None}))


def in_chunks(code: str) -> Reply:
    return raw(sse({"error": {"code": code, "message": "It failed."}}))


def refused(status: int, **error: Any) -> Reply:
    return raw(json.dumps({"error": error}).encode(), status, {"Content-Type": "application/json"})


AZURE = {"code": "ResponsibleAIPolicyViolation"}
TOO_LONG = "This model's maximum context length is 8192 tokens. You requested 9000 tokens."
ERRORS = {
    "402": (refused(402, message="Payment Required"), Reason.QUOTA_USED_UP),
    "413": (refused(413, message="Payload Too Large"), Reason.HISTORY_TOO_LONG),
    "422": (refused(422, message="Extra inputs"), Reason.REQUEST_REFUSED),
    "vLLM": (refused(400, message=TOO_LONG, code=400), Reason.HISTORY_TOO_LONG),
    "llama.cpp": (refused(400, type="exceed_context_size_error"), Reason.HISTORY_TOO_LONG),
    "Anthropic": (refused(400, message="prompt is too long: 9 > 8"), Reason.HISTORY_TOO_LONG),
    "filter": (refused(400, code="content_filter"), Reason.MESSAGE_BLOCKED),
    "Azure": (refused(400, code="x", innererror=AZURE), Reason.MESSAGE_BLOCKED),
    "DeepSeek": (refused(400, message="Content Exists Risk"), Reason.MESSAGE_BLOCKED),
    "prompt": (refused(400, code="invalid_prompt"), Reason.MESSAGE_BLOCKED),
}
CODES = {
    "context_length_exceeded": Reason.HISTORY_TOO_LONG,
    "insufficient_quota": Reason.QUOTA_USED_UP,
    "rate_limit_exceeded": Reason.MODEL_BUSY,
    "invalid_prompt": Reason.MESSAGE_BLOCKED,
    "content_filter": Reason.MESSAGE_BLOCKED,
    "server_error": Reason.MODEL_SILENT,
}


INSIDE = (failed_response, "responses"), (in_stream, "responses"), (in_chunks, "chat_completions")
FAILURES = {
    **{f"{name}, {api}": (*case, api) for name, case in ERRORS.items() for api in APIS},
    **{
        f"{code} in {how.__name__}": (how(code), reason, api)
        for code, reason in CODES.items()
        for how, api in INSIDE
    },
}


@pytest.mark.parametrize("name", FAILURES)
async def test_the_reason_of_a_refusal_is_told(login: Login, name: str) -> None:
    reply, reason, api = FAILURES[name]
    async with served(login, "openai", api, *[reply] * 3) as (conversation, _):
        assert (await failure_of(conversation.turn("hello?"))).reason is reason


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("name", ["filter", "Azure", "DeepSeek", "prompt"])
async def test_a_message_that_a_filter_refuses_is_not_sent_again(
    login: Login, name: str, api: str
) -> None:
    script = [say("Hi."), ERRORS[name][0], say("Hello."), say("Bye.")]
    async with served(login, "openai", api, *script) as (conversation, server):
        await events(conversation.turn("hi"))
        assert "Put it differently" in str(await failure_of(conversation.turn("something awful")))
        assert await answer_of(conversation.turn("hello")) == "Hello."
        assert await answer_of((await login(server, api)).turn("bye")) == "Bye."
        assert not any("awful" in str(request) for request in server.requests[2:])


def test_the_page_on_servers_names_every_rule_and_real_tests() -> None:
    page = (ROOT / "docs" / "servers.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\(`([^`]+)`\) \|", page)) == set(RULES)
    assert set(re.findall(r"`(test_\w+)`", page)) <= set(globals())
    assert set(re.findall(r"OPENAI_[A-Z_]+[A-Z]", page)) <= CHOICES.keys() | NUMBERS.keys() | {
        "OPENAI_BASE_URL",
        "OPENAI_MODEL",
    }


# Pure functions


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<think>a</think>\n\nHello.", "Hello."),
        (" <think>a</think> <think>b</think>Hi <think>", "Hi <think>"),
        ("Use <think> and </think>.", "Use <think> and </think>."),
        ("<thinking aloud>", "<thinking aloud>"),
        ("<think>only", ""),
        ("  indented", "  indented"),
    ],
)
def test_thoughts_are_left_out_however_the_pieces_are_cut(text: str, said: str, size: int) -> None:
    thoughts = Thoughts()
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    assert "".join(map(thoughts.said, pieces)) == said
    assert without_thoughts(text) == said


async def test_the_ids_of_items_are_not_remembered_for_ever() -> None:
    answers = [[assistant_message("Hi.", item_id=f"msg_{n}")] for n in range(2)]
    model = CheckedModel(ScriptedModel(answers))
    model._issued = dict.fromkeys(f"msg_old_{n}" for n in range(MOST_IDS))
    for _ in answers:
        await Runner.run(Agent(name="Desk", model=model), "hi")
    assert len(model._issued) == MOST_IDS + 1
    assert "msg_1" in model._issued and "msg_old_0" not in model._issued


def test_what_fits_is_not_changed_again_and_keeps_its_ids() -> None:
    sent = for_model(OLD, Limits())
    assert fit(sent) == sent
    ids = [item["call_id"] for item in fit([*sent, *sent]) if "call_id" in item]
    assert len(set(ids)) == 2 * len({item["call_id"] for item in sent if "call_id" in item})
    more = [*OLD, {"role": "user", "content": "more"}]
    assert for_model(more, Limits())[: len(sent)] == sent  # a vendor's cache of it stays valid


def test_a_window_by_tokens_holds_whole_turns_and_always_the_last() -> None:
    history = [{"role": "user", "content": f"{n} " + "x" * 400} for n in range(10)]
    history = [each for n in history for each in (n, {"role": "assistant", "content": "yes"})]
    last, whole = for_model(history, Limits(tokens=500)), for_model(history, Limits())
    assert tokens_in(last) <= 500 < tokens_in(whole)
    assert last == whole[-len(last) :] and last[0]["content"].startswith("6 ")
    assert for_model(history, Limits(tokens=1)) == for_model(history, Limits(turns=1))
    assert len(for_model(history, Limits(turns=3))) == 6

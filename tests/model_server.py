"""A stand-in for the model vendor's HTTP API: it answers as scripted and refuses what the real
one refuses.

    with ModelServer([call("list_orders"), say("You have two orders.")]) as server:
        ...  # a program with OPENAI_BASE_URL=server.base_url and OPENAI_API_KEY=server.api_key

It serves POST /v1/responses and POST /v1/chat/completions, streamed or not, on 127.0.0.1. Of the
many kinds of input item and tool it knows those that function tools and handoffs need. It refuses
what users report that the vendor refuses, in shorter words. With a `Rule` it also refuses what
another provider's server refuses: see server_rules.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import secrets
import socketserver
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler
from typing import Any, TypeAlias

from agents import ModelSettings, Usage
from agents.models.interface import ModelTracing
from agents.testing import ModelStep, ScriptedModel
from openai.types.responses import ResponseOutputItem
from openai.types.responses.response_create_params import ResponseCreateParamsStreaming
from pydantic import TypeAdapter

Json: TypeAlias = dict[str, Any]


# --- What a test scripts ------------------------------------------------------------------------


@dataclass(frozen=True)
class Reply:
    """One answer of the model. `say("A moment.") + call("list_orders")` has two items, `Reply()`
    has none."""

    items: tuple[Json, ...] = ()
    delay: float = 0.0  # seconds between two deltas
    cut_after: int | None = None  # characters
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None  # sent as it is, in place of items
    silence: Callable[[threading.Event], object] | None = None  # runs in place of an answer
    end: str = ""  # why the answer stops early, see `stop_early`

    def __add__(self, other: Reply) -> Reply:
        return replace(self, items=self.items + other.items, delay=max(self.delay, other.delay))


Responder: TypeAlias = Callable[[Json], Reply]  # is given the body of the request


def say(text: str, *, delay: float = 0.0) -> Reply:
    """A message, sent in deltas of one word, `delay` seconds apart."""
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return Reply(({"type": "message", "role": "assistant", "content": [part]},), delay)


def refuse(text: str) -> Reply:
    """A message whose content is a refusal."""
    part = {"type": "refusal", "refusal": text}
    return Reply(({"type": "message", "role": "assistant", "content": [part]},))


def call(name: str, arguments: Json | str | None = None, call_id: str | None = None) -> Reply:
    """A function call, also of a tool that does not exist. A string goes out as it is, valid
    JSON or not. Without `call_id` every sending has its own."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments or {})
    return Reply(({"type": "function_call", "name": name, "arguments": text, "call_id": call_id},))


def think() -> Reply:
    """A reasoning item, as reasoning models put before what they say or call."""
    return Reply(({"type": "reasoning", "summary": [], "encrypted_content": "gAAAAAB"},))


def raw(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """These bytes and a clean end: `raw(b"")` is a stream that ends before it begins. `sse` makes
    single events."""
    kind = "text/event-stream" if status == 200 else "text/html"
    return Reply(status=status, headers={"Content-Type": kind, **(headers or {})}, body=body)


def fail(
    status: int,
    code: str | None = None,
    message: str = "Scripted failure.",
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """An HTTP error in the vendor's envelope. For a proxy's, see `raw`."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    error = {"message": message, "type": kind, "param": None, "code": code}
    headers = {"Content-Type": "application/json", **(headers or {})}
    return raw(json.dumps({"error": error}).encode(), status, headers)


def cut(reply: Reply, after: int) -> Reply:
    """The connection breaks when at least `after` characters of text or arguments are out, and
    in any case before the answer is complete."""
    return replace(reply, cut_after=after)


def stop_early(reply: Reply, why: str = "length") -> Reply:
    """A streamed answer whose last item is a piece: `length`, `content_filter`, or `nothing`, which
    is a stream that just ends. `reply` is the piece. `[DONE]`: it gives no reason, but says that
    the stream is done, which chat completions alone can."""
    return replace(reply, end=why)


def hang(seconds: float | None = None) -> Reply:
    """Not a byte for `seconds`, by default until the server ends; then the connection breaks, with
    `hang(0)` at once. For a late answer, see `ModelServer.hold`."""
    return Reply(silence=lambda closing: closing.wait(seconds))


class Gate:
    """A point where one reply stands still until the test lets it go on."""

    def __init__(self, after: int | None) -> None:
        self.after = after
        self._reached, self._released = threading.Event(), threading.Event()

    def wait_reached(self, timeout: float = 10.0) -> None:
        if not self._reached.wait(timeout):
            raise TimeoutError(f"no reply came to this gate within {timeout} s")

    def release(self) -> None:
        self._released.set()

    def stand(self) -> None:
        self._reached.set()
        self._released.wait()


@dataclass(frozen=True)
class Rule:
    """What one provider's server refuses beyond the checks below, and how its answers look."""

    about: str
    check: Callable[[Json, list[Json]], None] = lambda body, messages: None  # see `messages_of`
    shape: Callable[[Json], None] = lambda message: None  # changes a chat completion's message
    shape_item: Callable[[Json], None] = lambda item: None  # changes an item, in either API
    has_reasoning_items: bool = True  # of the Responses API
    apis: tuple[str, ...] = ("responses", "chat_completions")
    settings: Mapping[str, str] = field(default_factory=dict)  # what the chat needs to be told


# --- The server ---------------------------------------------------------------------------------


class ModelServer:
    """Answers each accepted request with the next scripted reply, or as a responder decides.

    `requests` are the parsed bodies in order, also of those it refused. `violations` are the
    texts of all refusals by the checks below, and errors in the test's own script. In the end
    there may be none, for a client may swallow a 400; a test that means one clears them.
    """

    def __init__(
        self,
        script: Responder | Iterable[Reply] = (),
        *,
        api_key: str = "sk-test",
        rule: Rule | None = None,
    ) -> None:
        self.api_key = api_key
        self.rule = rule or Rule("the vendor's own server")
        self.requests: list[Json] = []
        self.violations: list[str] = []
        self.reasoning_of: dict[str, str] = {}  # id of an item sent: id of the reasoning before it
        self.closing = threading.Event()
        self._responder: Responder | None = script if callable(script) else None
        self._replies: deque[Reply] = deque(() if callable(script) else script)
        self._gates: list[Gate] = []
        self._waiting_gates: deque[Gate] = deque()
        self._listener = _Listener(("127.0.0.1", 0), _Handler)
        self._listener.owner = self
        self.base_url = f"http://127.0.0.1:{self._listener.server_address[1]}/v1"

    def __enter__(self) -> ModelServer:
        threading.Thread(target=self._listener.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, failure: object, *_: object) -> None:
        self.closing.set()
        for gate in self._gates:
            gate.release()
        self._listener.shutdown()
        self._listener.server_close()
        assert failure or self.violations == []

    def script(self, *replies: Reply) -> None:
        """Adds replies behind those not yet sent."""
        self._replies.extend(replies)

    def hold(self, after: int | None = None) -> Gate:
        """Stops the next reply that has no gate yet: before its first byte, or after so many
        deltas (a shorter reply: before it is complete)."""
        gate = Gate(after)
        self._gates.append(gate)
        self._waiting_gates.append(gate)
        return gate

    def next_reply(self, body: Json) -> tuple[Reply, Gate | None]:
        if not self._responder and not self._replies:
            raise Refused("The test scripted no reply to this request.")
        reply = self._responder(body) if self._responder else self._replies.popleft()
        return reply, self._waiting_gates.popleft() if self._waiting_gates else None


class _Listener(socketserver.ThreadingTCPServer):
    owner: ModelServer
    daemon_threads = True
    request_queue_size = 128


class _Handler(BaseHTTPRequestHandler):
    server: _Listener
    protocol_version = "HTTP/1.1"  # for chunks: they tell a client a cut stream from a whole one
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        self.close_connection = True  # nothing may reach a server whose test is over
        with contextlib.suppress(OSError):  # the client has gone: tests kill it in mid-answer
            self._answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    do_GET = do_POST

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the output belongs to the tests."""

    def _answer(self, data: bytes) -> None:
        owner, gate, body = self.server.owner, None, {}
        try:
            if self.headers.get("Authorization") != f"Bearer {owner.api_key}":
                raise Refused("Incorrect API key provided.", 401)
            check = CHECKS.get(self.path) if self.command == "POST" else None
            if check is None:
                raise Refused(f"Invalid URL ({self.command} {self.path})", 404)
            body = parse(data)
            owner.requests.append(body)
            check(body, owner.reasoning_of)
            owner.rule.check(body, messages_of(body))
            reply, gate = owner.next_reply(body)
        except Refused as refused:
            owner.violations.append(refused.message)
            reply = refused.reply
        except Exception as error:
            owner.violations.append(f"The test's responder raised {error!r}.")
            raise
        if reply.silence:
            reply.silence(owner.closing)
            return
        if gate and gate.after is None:
            gate.stand()
        if reply.body is None:
            self._send_items(reply, gate, body)
        else:
            self._send_whole(reply.status, reply.headers, reply.body)

    def _send_items(self, reply: Reply, gate: Gate | None, body: Json) -> None:
        rule = self.server.owner.rule
        chat = self.path == "/v1/chat/completions"
        given = [
            item
            for item in reply.items
            if chat or rule.has_reasoning_items or item["type"] != "reasoning"
        ]
        items = with_ids(given, self.server.owner.reasoning_of)
        for item in items:
            rule.shape_item(item)
        if chat:
            answer = completion(body, items)
            rule.shape(answer["choices"][0]["message"])
            answer["choices"][0]["message"].pop("thought", None)
        else:
            made = asyncio.run(spoken(items))
            answer = made[-1]["response"]
        if body.get("stream"):
            self._send_head(200, {"Content-Type": "text/event-stream"}, length=None)
            events = completion_chunks(answer, body) if chat else response_events(made)
            if reply.end:
                events = stopped_early(list(events), answer, reply.end)
            if self._stream(events, reply, gate):
                if chat and reply.end != "nothing":
                    self._chunk(b"data: [DONE]\n\n")
                self._chunk(b"")
        elif reply.cut_after is None:
            self._send_whole(200, {"Content-Type": "application/json"}, json.dumps(answer).encode())

    def _stream(self, events: Iterable[Event], reply: Reply, gate: Gate | None) -> bool:
        """False, where the reply is to be cut."""
        deltas = characters = 0
        for event, delta in events:
            last = delta is None
            if gate and (last or (delta and deltas >= (gate.after or 0))):
                gate.stand()
            if reply.cut_after is not None and (last or (delta and characters >= reply.cut_after)):
                return False
            if delta and deltas and reply.delay:
                self.server.owner.closing.wait(reply.delay)
            self._chunk(sse(event))
            deltas, characters = deltas + bool(delta), characters + len(delta or "")
        return True

    def _send_head(self, status: int, headers: Mapping[str, str], length: int | None) -> None:
        self.send_response(status)
        self.send_header("x-request-id", new_id("req"))
        self.send_header("Connection", "close")
        if length is None:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _send_whole(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self._send_head(status, headers, len(body))
        self.wfile.write(body)

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))


# --- Answers in the vendor's shapes -------------------------------------------------------------

USED = Usage(requests=1, input_tokens=100, output_tokens=10, total_tokens=110)
Event: TypeAlias = tuple[Json, str | None]  # its delta; "" for none; None: it completes the answer


def new_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(12 if prefix == 'call' else 24)}"


def with_ids(items: Iterable[Json], reasoning_of: dict[str, str]) -> list[Json]:
    done: list[Json] = []
    for item in items:
        item = {"id": new_id(ID_PREFIX[item["type"]]), **item}
        if item["type"] == "function_call" and item["call_id"] is None:
            item["call_id"] = new_id("call")
        if item["type"] != "reasoning":
            item["status"] = "completed"
            for before in done:
                if before["type"] == "reasoning":
                    reasoning_of[item["id"]] = before["id"]
        done.append(item)
    return done


async def spoken(items: list[Json]) -> list[Json]:
    """The events of a response with these items, as the SDK's own scripted model makes them."""
    output = [TypeAdapter[Any](ResponseOutputItem).validate_python(item) for item in items]
    step = ModelStep(output=output, usage=USED, response_id=new_id("resp"))
    request: Any = None, "", ModelSettings(), [], None, [], ModelTracing.DISABLED
    ids: Any = {"previous_response_id": None, "conversation_id": None, "prompt": None}
    events = ScriptedModel([step]).stream_response(*request, **ids)
    return [event.model_dump(exclude_none=True) async for event in events]


def response_events(events: list[Json]) -> Iterator[Event]:
    """`events` with their texts in pieces, as a vendor streams them."""
    *events, completed = events
    for event in events:
        cut = pieces if "arguments" in event["type"] else words
        for delta in cut(event["delta"]) if "delta" in event else [""]:
            yield event | ({"delta": delta} if delta else {}), delta
    yield completed, None


def stopped_early(events: list[Event], answer: Json, why: str) -> Iterator[Event]:
    """`events` up to the last delta; then an end that gives the reason, or none."""
    whole = max(n for n, (_, delta) in enumerate(events) if delta) + 1
    yield from events[:whole]
    if why in ("nothing", "[DONE]"):
        return
    if "choices" in answer:
        for event, _ in events[whole:]:
            for choice in event["choices"]:
                choice["finish_reason"] = why
            yield event, ""
        return
    items = [*answer["output"][:-1], {**answer["output"][-1], "status": "incomplete"}]
    reason = {"length": "max_output_tokens"}.get(why, why)
    ended = {"status": "incomplete", "incomplete_details": {"reason": reason}, "output": items}
    yield {"type": "response.incomplete", "response": {**answer, **ended}}, ""


def completion(body: Json, items: list[Json]) -> Json:
    message: Json = {"role": "assistant", "content": None, "refusal": None}
    for item in items:
        for part in item.get("content", []):
            name = "content" if "text" in part else "refusal"
            message[name] = (message[name] or "") + part.get("text", part.get("refusal"))
        if item["type"] == "reasoning":
            message["thought"] = True  # how it is sent, if at all, is a rule's business
        if item["type"] == "function_call":
            function = {"name": item["name"], "arguments": item["arguments"]}
            made = {"id": item["call_id"], "type": "function", "function": function}
            message.setdefault("tool_calls", []).append(made)
    reason = "tool_calls" if "tool_calls" in message else "stop"
    return {
        **{"id": f"chatcmpl-{secrets.token_hex(12)}", "object": "chat.completion"},
        **{"created": 1767225600, "model": body["model"]},
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reason}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
    }


def completion_chunks(answer: Json, body: Json) -> Iterator[Event]:
    message = answer["choices"][0]["message"]
    counts = (body.get("stream_options") or {}).get("include_usage")

    def chunk(delta: Json, reason: str | None = None) -> Json:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        made = {**answer, "object": "chat.completion.chunk", "choices": [choice], "usage": None}
        return made if counts else {k: v for k, v in made.items() if k != "usage"}

    yield chunk({"role": "assistant", "content": None}), ""
    if thought := message.get("reasoning_content"):
        yield chunk({"reasoning_content": thought}), ""
    for name in ("content", "refusal"):
        for word in words(message[name] or ""):
            yield chunk({name: word}), word
    for index, made in enumerate(message.get("tool_calls", [])):
        index = made.pop("place", index)
        opening = {**made, "index": index, "function": {**made["function"], "arguments": ""}}
        yield chunk({"tool_calls": [opening]}), ""
        for piece in pieces(made["function"]["arguments"]):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}), piece
    yield chunk({}, answer["choices"][0]["finish_reason"]), "" if counts else None
    if counts:  # the vendor counts in a chunk of its own, and only if it is asked to
        yield {**chunk({}), "choices": [], "usage": answer["usage"]}, None


def sse(event: Json) -> bytes:
    """One server-sent event. ASCII escapes, so that a test can script half a surrogate pair."""
    name = f"event: {event['type']}\n" if "type" in event else ""
    return f"{name}data: {json.dumps(event)}\n\n".encode()


def words(text: str) -> list[str]:
    return re.findall(r"\S+\s*|\s+", text)


def pieces(arguments: str) -> list[str]:
    return re.findall(r"(?s).{1,8}", arguments)


# --- What the real one refuses ------------------------------------------------------------------

ID_PREFIX = {"message": "msg", "function_call": "fc", "reasoning": "rs"}
NAME = "^[a-zA-Z0-9_-]+$"
PARAMETERS = " ".join(ResponseCreateParamsStreaming.__annotations__)
TEXT_OR_PARTS = (str, list)
ITEM_FIELDS: dict[str, tuple[Json, str]] = {  # required, with their types; optional
    "message": ({"role": str, "content": TEXT_OR_PARTS}, "type id status phase"),
    "function_call": (
        {"call_id": str, "name": str, "arguments": str},
        "type id status caller namespace",
    ),
    "function_call_output": (
        {"call_id": str, "output": TEXT_OR_PARTS},
        "type id status caller name namespace",
    ),
    # A reasoning item's `status` is in the vendor's types and refused all the same.
    "reasoning": ({"summary": list}, "type id content encrypted_content"),
}
SAME_ANSWER = ("function_call", "reasoning", "assistant")  # what may follow a reasoning item
# The newest models take `default` too; older ones, and other hosts of this API, refuse it.
STRICT_KEYWORDS = """type properties required additionalProperties items enum const anyOf $ref $defs
definitions title description pattern format minimum maximum exclusiveMinimum exclusiveMaximum
multipleOf minItems maxItems"""


class Refused(Exception):
    def __init__(self, message: str, status: int = 400) -> None:
        self.message, self.reply = message, fail(status, message=message)


def parse(data: bytes) -> Json:
    try:
        body: Json = json.loads(data.decode())
        json.dumps(body, ensure_ascii=False).encode()  # fails on half a surrogate pair
    except ValueError as error:
        raise Refused("We could not parse the JSON body of your request.") from error
    must_be(body, dict, "body")
    return body


def must_be(value: object, kind: type | tuple[type, ...], at: str) -> None:
    if not isinstance(value, kind):
        raise Refused(f"Invalid type for '{at}': {value!r}.")


def must_be_one_of(value: object, allowed: Iterable[str], at: str) -> None:
    if value not in (names := list(allowed)):
        raise Refused(f"Invalid value for '{at}': {value!r}. Supported values are: {names}.")


def must_be_short(value: Any, at: str, pattern: str = "") -> None:
    must_be(value, str, at)
    if not 1 <= len(value) <= 64 or not re.search(pattern, value):
        raise Refused(f"Invalid '{at}': {value!r} has not 1-64 characters that match '{pattern}'.")


def check_fields(value: Json, required: str, allowed: str, at: str = "") -> None:
    for name in required.split():
        if name not in value:
            raise Refused(f"Missing required parameter: '{at}{name}'.")
    for name in value:
        if name not in f"{required} {allowed}".split():
            raise Refused(f"Unknown parameter: '{at}{name}'.")


def check_responses(body: Json, reasoning_of: Mapping[str, str]) -> None:
    check_fields(body, "model", PARAMETERS)
    check_tools(body.get("tools") or [])
    stored = body.get("previous_response_id") or body.get("conversation")
    items = body.get("input") or []
    if not items and not stored:
        raise Refused("'input' or 'previous_response_id' must be provided.")
    must_be(items, (str, list), "input")
    if isinstance(items, list):
        for index, item in enumerate(items):
            check_item(item, f"input[{index}]")
        check_ids(items, reasoning_of)
        if not stored:  # else the vendor may hold the other half of a pair
            check_pairs(items)


def check_item(item: Json, at: str) -> None:
    must_be(item, dict, at)
    kind = item.get("type", "message")
    must_be_one_of(kind, ITEM_FIELDS, at)
    required, optional = ITEM_FIELDS[kind]
    check_fields(item, " ".join(required), optional, f"{at}.")
    for name, types in required.items():
        must_be(item[name], types, f"{at}.{name}")
    patterns = {"id": f"^{ID_PREFIX.get(kind, '')}", "call_id": "", "name": NAME}
    for name in patterns.keys() & item.keys():
        must_be_short(item[name], f"{at}.{name}", patterns[name])
    if kind == "message":
        check_message(item, at)


def check_message(item: Json, at: str) -> None:
    must_be_one_of(item["role"], ("assistant", "system", "developer", "user"), f"{at}.role")
    given, made = ("input_text", "input_image", "input_file"), ("output_text", "refusal")
    for index, part in enumerate(item["content"] if isinstance(item["content"], list) else []):
        where = f"{at}.content[{index}]"
        must_be(part, dict, where)
        must_be_one_of(part.get("type"), made if item["role"] == "assistant" else given, where)
        if part["type"] in ("input_text", *made):
            name = "refusal" if part["type"] == "refusal" else "text"
            must_be(part.get(name), str, f"{where}.{name}")


def check_ids(items: list[Json], reasoning_of: Mapping[str, str]) -> None:
    seen: set[str] = set()
    for item, following in zip(items, [*items[1:], {}], strict=True):
        id_ = item.get("id")
        if id_ is None:
            continue
        if id_ in seen:
            raise Refused(f"Duplicate item found with id {id_}.")
        seen.add(id_)
        alone = {following.get("type"), following.get("role")}.isdisjoint(SAME_ANSWER)
        if item.get("type") == "reasoning" and alone:
            raise Refused(f"Item '{id_}' was provided without its required following item.")
        if reasoning_of.get(id_, id_) not in seen:
            raise Refused(f"Item '{id_}' was provided without its required 'reasoning' item.")


def check_pairs(items: list[Json]) -> None:
    calls: set[str] = set()
    outputs: set[str] = set()
    for item in items:
        call_id, kind = item.get("call_id", ""), item.get("type")
        if kind in ("function_call", "function_call_output"):
            before = calls if kind == "function_call" else outputs
            if call_id in before:
                raise Refused(f"Duplicate {kind} for call_id '{call_id}'.")
            before.add(call_id)
        if call_id not in calls and call_id in outputs:
            raise Refused(f"No tool call found for the output of {call_id}.")
    for call_id in sorted(calls - outputs):
        raise Refused(f"No tool output found for function call {call_id}.")


def check_tools(tools: list[Json]) -> None:
    names: set[str] = set()
    for index, tool in enumerate(tools):
        must_be_one_of(tool.get("type"), ("function",), f"tools[{index}].type")
        tool = tool.get("function", tool)
        name = tool.get("name")
        must_be_short(name, f"tools[{index}].name", NAME)
        if name in names:
            raise Refused(f"Tool names must be unique: '{name}'.")
        names.add(str(name))
        for problem in schema_problems(tool.get("parameters") or {}) if tool.get("strict") else ():
            raise Refused(f"Invalid schema for function '{name}': {problem}")


def schema_problems(schema: Json, path: str = "") -> Iterator[str]:
    for keyword in schema:
        if keyword not in STRICT_KEYWORDS.split():
            yield f"{path}: '{keyword}' is not permitted."
    if not path and schema.get("type") != "object":
        yield f"its type is {schema.get('type')!r}, not 'object'."
    if "object" in (schema.get("type") or ""):  # or in a list of types
        if schema.get("additionalProperties") is not False:
            yield f"{path}: 'additionalProperties' must be false."
        for name in schema.get("properties", {}).keys() - set(schema.get("required", [])):
            yield f"{path}: '{name}' is not required."
    for group in ("properties", "$defs", "definitions"):
        for name, inner in schema.get(group, {}).items():
            yield from schema_problems(inner, f"{path}/{name}")
    if "items" in schema:
        yield from schema_problems(schema["items"], f"{path}/*")
    for inner in schema.get("anyOf", []):
        yield from schema_problems(inner, f"{path}/*")


def check_chat(body: Json, _: Mapping[str, str]) -> None:
    if not body.get("model"):
        raise Refused("you must provide a model parameter")
    check_tools(body.get("tools") or [])
    if not body.get("messages"):
        raise Refused("[] is too short - 'messages'")
    roles = ("system", "assistant", "user", "function", "tool", "developer")
    waiting: list[str] = []  # the calls that the next messages must answer
    for index, message in enumerate([*body["messages"], {"role": "user", "content": ""}]):
        at = f"messages[{index}]"
        must_be_one_of(message.get("role"), roles, f"{at}.role")
        if message["role"] == "tool":
            if message.get("tool_call_id") not in waiting:  # also one that is answered already
                raise Refused(f"{at} must be a response to a message with 'tool_calls'.")
            waiting.remove(message["tool_call_id"])
        elif waiting:
            raise Refused(f"{at}: calls without response messages: {', '.join(waiting)}")
        waiting = waiting or [made["id"] for made in message.get("tool_calls") or []]
        if not message.get("tool_calls"):
            must_be(message.get("content"), (str, list), f"{at}.content")


def messages_of(body: Json) -> list[Json]:
    """The conversation in a request of either API, as a model's template gets it: what the
    assistant says and calls in one step is one message."""
    if "messages" in body:
        return list(body["messages"])
    messages: list[Json] = []
    items = body.get("input") or []
    for item in items if isinstance(items, list) else [{"role": "user", "content": items}]:
        kind = item.get("type", "message")
        last = messages[-1] if messages else {}
        if kind == "function_call":
            function = {"name": item["name"], "arguments": item["arguments"]}
            made = {"id": item["call_id"], "type": "function", "function": function}
            if last.get("role") != "assistant":
                messages.append({"role": "assistant", "content": None})
            messages[-1].setdefault("tool_calls", []).append(made)
        elif kind == "function_call_output":
            output = {"tool_call_id": item["call_id"], "content": item["output"]}
            messages.append({"role": "tool", **output})
        elif kind == "message":
            parts = item["content"]
            text = parts if isinstance(parts, str) else "".join(p.get("text", "") for p in parts)
            messages.append({"role": item["role"], "content": text})
    return messages


CHECKS: dict[str, Callable[[Json, Mapping[str, str]], None]] = {
    "/v1/responses": check_responses,
    "/v1/chat/completions": check_chat,
}

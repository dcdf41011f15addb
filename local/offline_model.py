"""A rule-based model for `main.py --offline` and the evals, where there is no API key.

It stands behind the same agents, tools, handoffs, approvals and streaming as a real model, and sees
only what one sees: the instructions, the input items, and the tools and handoffs on offer. What it
understands is the table RULES, at the end.
"""

from __future__ import annotations

import asyncio
import difflib
import functools
import json
import re
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agents import Model, ModelResponse
from agents.items import TResponseStreamEvent
from agents.testing import ModelCall, ModelStep, ScriptedModel, assistant_message, function_call

WORD_SECONDS = 0.015  # per streamed word, so that the streaming can be seen
MAX_REQUESTS = 2  # in one message; with a handoff each, more would near the runner's max_turns

# Which handoff leads to the agent that has a tool.
OWNERS = {
    "list_orders": "transfer_to_orders",
    "get_order": "transfer_to_orders",
    "initiate_return": "transfer_to_orders",
    "search_knowledge_base": "transfer_to_knowledge_base",
    "search_products": "transfer_to_knowledge_base",
    "get_product": "transfer_to_knowledge_base",
}


class OfflineModel(Model):
    """Answers by the rules below; `delay` is in seconds per streamed word."""

    def __init__(self, delay: float = WORD_SECONDS) -> None:
        self.delay = delay

    async def get_response(self, *args: Any, **kwargs: Any) -> ModelResponse:
        return await _one_step().get_response(*args, **kwargs)

    async def stream_response(
        self, *args: Any, **kwargs: Any
    ) -> AsyncIterator[TResponseStreamEvent]:
        number = 0
        async for event in _one_step().stream_response(*args, **kwargs):
            if event.type == "response.output_text.delta":
                for word in re.findall(r"\S+\s*|\s+", event.delta):
                    await asyncio.sleep(self.delay)
                    yield event.model_copy(update={"delta": word, "sequence_number": number})
                    number += 1
            else:
                yield event.model_copy(update={"sequence_number": number})
                number += 1


def _one_step() -> ScriptedModel:
    # Usage stays at one request and no tokens: rules spend none, and a guess would look measured.
    return ScriptedModel([ModelStep.respond(_respond)])


def _respond(call: ModelCall) -> ModelStep:
    turn = _read(call)
    unique = uuid.uuid4().hex
    try:
        output = assistant_message(_answer(turn), item_id=f"msg_{unique}")
    except _Wanted as wanted:
        name, arguments = wanted.args
        output = function_call(name, arguments, call_id=f"call_{unique}", item_id=f"fc_{unique}")
    return ModelStep(output=[output], response_id=f"resp_{unique}")


# What the input says


class _Wanted(Exception):
    """The name and arguments of a tool or handoff that a rule needs before it can answer."""


class _OutOfReach(Exception):
    """A tool that is not on offer, and no handoff left that leads to it."""


@dataclass(frozen=True)
class Turn:
    """What the input says; everything but `done` is as of the customer's last message."""

    message: str
    earlier: list[str]  # the customer's messages before it
    said: str  # our answer just before it
    seen: list[str]  # every text before it, tool outputs included
    done: dict[tuple[str, str], str]  # outputs since, by tool and arguments
    offered: frozenset[str]
    instructions: str

    def use(self, tool: str, **arguments: str) -> str:
        """The tool's output where it is in the input already; else asks for it, or hands off.

        Each call of the model plays a rule again from its start. So a rule reads as if it could
        just call its tools, in whichever agent it is, and nothing is remembered between calls.
        """
        key = (tool, json.dumps(arguments, sort_keys=True))
        if key in self.done:
            return self.done[key]
        if tool in self.offered:
            raise _Wanted(tool, arguments)
        self.hand_off(OWNERS[tool])
        raise _OutOfReach

    def hand_off(self, handoff: str) -> None:
        """Once per message, so that two agents never pass it to and fro; then it just returns."""
        if handoff in self.offered and handoff not in {name for name, _ in self.done}:
            raise _Wanted(handoff, {})

    @property
    def subject(self) -> str:
        """The order or product last spoken of, such as ORD-1001; empty where it is unclear."""
        for text in reversed(self.seen):
            found = set(re.findall(ORDER, text)) or set(re.findall(SKU, text))
            if found:
                return found.pop() if len(found) == 1 else ""
        return ""


def _read(call: ModelCall) -> Turn:
    """Sort the input items; what is unknown or incomplete is left out."""
    given = (
        call.input if isinstance(call.input, list) else [{"role": "user", "content": call.input}]
    )
    items = [item for item in given if isinstance(item, Mapping)]
    asked = [n for n, item in enumerate(items) if item.get("role") == "user"]
    last = asked[-1] if asked else len(items)
    messages = [item for item in items[:last] if item.get("role") in ("user", "assistant")]
    previous = messages[-1] if messages else {}
    calls: dict[str, tuple[str, str]] = {}
    done: dict[tuple[str, str], str] = {}
    for item in items[last + 1 :]:
        call_id = str(item.get("call_id"))
        if item.get("type") == "function_call":
            calls[call_id] = (str(item.get("name")), _canonical(item.get("arguments")))
        elif item.get("type") == "function_call_output" and call_id in calls:
            done[calls[call_id]] = _text(item.get("output"))
    return Turn(
        message=_text(items[last].get("content")) if asked else "",
        earlier=[_text(items[n].get("content")) for n in asked[:-1]],
        said=_text(previous.get("content")) if previous.get("role") == "assistant" else "",
        seen=[_text(item.get("content") or item.get("output")) for item in items[:last]],
        done=done,
        offered=frozenset([t.name for t in call.tools] + [h.tool_name for h in call.handoffs]),
        instructions=call.system_instructions or "",
    )


def _text(value: object) -> str:
    """The text of an item: a string, or parts of which some have a text."""
    if isinstance(value, str):
        return value.replace("\u2019", "'")
    parts = value if isinstance(value, list) else [value]
    return "".join(str(part.get("text") or "") for part in parts if isinstance(part, Mapping))


def _canonical(arguments: object) -> str:
    try:
        return json.dumps(json.loads(str(arguments)), sort_keys=True)
    except (ValueError, RecursionError):
        return ""


# From a message to its requests

ORDER = r"ORD-\d{4,10}"
SKU = r"\b[A-Z]{3}-\d\d\b"
TYPED_ORDER = (
    r"(?i)\bord(?:er)?[\s#:-]*(?:number|no\.?)?[\s#:-]*(\d{3,10})\b|#(\d{4,10})\b|^\W*(\d{4})\W*$"
)
QUESTION = r"(?i)\?|^\W*(where|what|when|how|who|can|could|show|list|tell|hi|hello|hey)\b"
# A new sentence, or "and" before a word that opens a request: "slow and heavy" stays one.
NEXT_REQUEST = (
    r"(?i)(?<=[.?!])\s+|\n+|,?\s+(?=(?:and|also|then)\s+(?:also|please|what|where|when|how|who|do"
    r"|does|can|could|is|are|tell|show|list|return|refund|track|send|i|i'd|ord-\d+)\b)"
)
PRONOUN = r"\b(it|its|it's|this|that|them|they)\b"
ASK_REASON = "Why would you like to return it?"
ASK_ORDER = "Which order would you like to return?"


def _answer(turn: Turn) -> str:
    answers: list[str] = []
    for number, request in enumerate(_requests(turn)):
        try:
            if number >= MAX_REQUESTS:
                raise _OutOfReach
            answer = _rule(request)
            answers.append(answer if isinstance(answer, str) else answer(turn, request))
        except _OutOfReach:
            answers.append(f"One thing after the other: please ask again, {request.strip()}")
    # Our question comes last: the customer's next message is the answer to it.
    answers.sort(key=lambda answer: answer.endswith((ASK_REASON, ASK_ORDER)))
    return "\n\n".join(dict.fromkeys(answers))


def _requests(turn: Turn) -> list[str]:
    """The requests in the message; an answer to a question of ours becomes one."""
    message = turn.message.strip()
    numbers = re.findall(ORDER, turn.said)
    if _rule(message) not in (KEEP, IMPOSSIBLE) and not re.search(QUESTION, message):
        if turn.said.endswith(ASK_ORDER):
            return [f"return {message}: {turn.earlier[-1]}"]
        if turn.said.endswith(ASK_REASON) and numbers and not _typed_order(message):
            return [f"return {numbers[-1]} because {message}"]
    requests: list[str] = []
    for part in re.split(NEXT_REQUEST, message):
        rule, before = _rule(part), _rule(requests[-1]) if requests else None
        same = rule is before and re.search(PRONOUN, part, re.I)
        if requests and (same or rule in SMALL_TALK or before in SMALL_TALK):
            requests[-1] += f" {part}"  # no request of its own: it belongs to its neighbour
        else:
            requests.append(part)
    return requests


def _rule(request: str) -> Rule | str:
    text = _spelled(request)
    return next(answer for pattern, answer in RULES if re.search(pattern, text))


@functools.lru_cache(maxsize=100)
def _spelled(text: str) -> str:
    """`Retrun polcy` -> `return policy`: a word that is nearly one of the table's becomes it."""

    def near(word: re.Match[str]) -> str:
        close = difflib.get_close_matches(word[0], VOCABULARY, n=1, cutoff=0.83)
        return close[0] if close and not word[0].startswith(close[0]) else word[0]

    return re.sub(r"[a-z]{4,14}", near, text[:1000].lower())


def _typed_order(text: str) -> str:
    found = re.search(TYPED_ORDER, text)
    return f"ORD-{next(filter(None, found.groups()))}" if found else ""


def _nouns(text: str) -> list[str]:
    """The words of `text` that may name an item."""
    words = re.findall(r"[\w'-]{2,}", re.sub(TYPED_ORDER, " ", _spelled(text)))
    return [word.removesuffix("s") for word in words if word not in SMALL_WORDS]


def _naming(lines: list[str], nouns: list[str]) -> list[str]:
    """The lines that name most of `nouns`, typos forgiven; none where none is named."""

    def hits(line: str) -> int:
        known = re.findall(r"[\w-]{3,}", line.lower())
        return sum(bool(difflib.get_close_matches(noun, known, n=1, cutoff=0.8)) for noun in nouns)

    most = max(map(hits, lines), default=0)
    return [line for line in lines if most and hits(line) == most]


# Orders

STATUSES: dict[str, str] = {
    "processing": "is **processing**: placed on {processing} and not shipped yet, so it has no "
    "tracking number so far.",
    "shipped": "is **shipped**: it left on {shipped}, with the tracking number **{tracking}**.",
    "delivered": "was **delivered** on {delivered}; its tracking number is {tracking}.",
}


def _order(turn: Turn, request: str) -> str:
    numbers, listed = _meant(turn, request)
    if len(numbers) == 1:
        return _explained(turn.use("get_order", order_id=numbers[0]), _spelled(request))
    return f"Your orders:\n\n{listed}" if numbers else listed


def _meant(turn: Turn, request: str) -> tuple[list[str], str]:
    """The numbers of the orders that may be meant, and these orders as a Markdown list."""
    text, nouns = _spelled(request), _nouns(request)
    spoken_of = turn.subject if turn.subject.startswith("ORD") else ""
    points_back = re.search(PRONOUN, text)
    if number := _typed_order(request) or (points_back and _typed_order(turn.message)):
        return [number], ""
    anew = re.search(r"orders\b|\bmy (last |latest |other )?(order|package|parcel|deliver)", text)
    if spoken_of and (points_back or not (nouns or anew)):
        return [spoken_of], ""
    output = turn.use("list_orders")
    lines = [line for line in output.splitlines() if re.match(ORDER, line)]
    under_way = [line for line in lines if re.search(": (processing|shipped)", line)]
    chosen = _naming(lines, nouns or _nouns(turn.message))
    if not chosen and re.search("last|latest|newest|recent", text):
        chosen = lines[:1]
    elif not chosen and re.search("where|when|track|arriv", text) and len(under_way) == 1:
        chosen = under_way
    numbers = [line.partition(":")[0] for line in chosen or lines]
    listed = [re.sub(r"^(\S+): ([^,]+)", r"- **\1**: **\2**", line) for line in chosen or lines]
    return numbers, "\n".join(listed) or output


def _explained(order: str, question: str) -> str:
    """An order in a few sentences; where get_order found none, what it said instead."""
    fields: dict[str, str] = defaultdict(lambda: "an unknown day")
    for line in order.splitlines():
        name, _, value = line.partition(": ")
        fields[name.lower()] = value
    number = re.search(ORDER, order)
    if number is None or "status" not in fields:
        return order
    items = re.findall(r"(?m)^Item: (.+)", order)
    names = ", ".join(re.sub(r"^1 x | \(.*", "", item) for item in items)
    sentence = STATUSES.get(fields["status"], "has the status **{status}**.").format_map(fields)
    text = f"Order **{number[0]}** ({names}) {sentence}"
    if "return reason" in fields:
        text += f" Reason: {fields['return reason']}. "
        text += f"Estimated refund: {fields['estimated refund']}."
    if fields["status"] == "shipped" and re.search("when|arriv|how long", question):
        text += " It does not say on which day it will arrive."
    if re.search(r"cost|total|much|pa(y|id)|spen|item|what.*(\bin\b|buy|bought)", question):
        text += "".join(f"\n- {item}" for item in ["", *items, f"Total: {fields['total']}"])[3:]
    return text


def _give_back(turn: Turn, request: str) -> str:
    numbers, listed = _meant(turn, request)
    if len(numbers) != 1:
        return f"{listed}\n\n{ASK_ORDER}" if numbers else listed
    order = turn.use("get_order", order_id=numbers[0])
    explained = _explained(order, "")
    if "Status: delivered" not in order:
        early = re.search("Status: (processing|shipped)", order)
        return explained + (" Only a delivered order can be returned." if early else "")
    reason = _reason(request) or _reason(turn.message)
    if not reason:
        return f"{_explained(order, 'total')}\n\n{ASK_REASON}"
    output = turn.use("initiate_return", order_id=numbers[0], reason=reason)
    if re.match(r"(?i)(?!Return initiated).*(approv|declin|reject|denied|said no)", output):
        return f"Nothing was returned: you did not say yes. Order {numbers[0]} stays as it is."
    return output  # word for word, a refusal as well


RETURN = r"\breturn(?!ed\b)|refund|(send|give|take|bring)\b.*\bback\b|money back"
BECAUSE = (
    r"(?is)\breason(?: is)?\b\s*:?\s*(.+)"
    r"|\b(?:because|becuase|cause|since|due to|as(?= (?:it|i)\b))(?: of)?\s+(.+)"
)
CLAUSE_END = r"(?i)[,;:!?\n]+|\.(?:\s|$)|\s[-\u2013\u2014]+\s|\b(?:so|but)\b|\bord-?\d+\b"
COMPLAINT = r"(?i)\b(too|not|wrong|never|mistake|hate|mind|enough|broke\w*|damaged|faulty)\b|n't\b"
# Beside a return, but no reason: the words of one who is polite, or who wants no question.
NO_REASON = (
    r"(?i)^\W*(and|please|pls|thanks?|thank you|asap|now|today|yes|ok|hi|hello|hey|it|them)?\W*$"
    r"|confirm|approv|\badmin|\bask\b|right away|immediately"
)


def _reason(text: str) -> str:
    """`return ORD-1001, not powerful enough` -> `Not powerful enough`; empty where there is none."""
    reason, asked = "", False
    if found := re.search(BECAUSE, text):
        reason = found[1] or found[2]
    for clause in re.split(CLAUSE_END, "" if reason else text):
        is_request = bool(re.search(RETURN, clause, re.I))
        fits = not is_request and (asked or re.search(COMPLAINT, clause))
        if fits and not reason and not re.search(NO_REASON, clause):
            reason = clause
        asked = asked or is_request
    reason = re.split(r"(?i)\W+(?:and )?(?:please\b|thank|do(?:n't| not) ask|without ask)", reason)[
        0
    ]
    reason = reason.strip(" \t\n.,;!?")
    return reason[:1].upper() + reason[1:]


# Knowledge base

UNKNOWN = (
    "I do not know that; please write to support@example.com. (I am a rule-based stand-in: with "
    "OPENAI_API_KEY set, a real model answers here.)"
)
# Words of a question, and the word of the sentence that answers it.
ANSWERED_BY = {"when": "days", "long": "days", "time": "days", "much": "costs", "cost": "costs"}


def _help_article(turn: Turn, request: str) -> str:
    """The title of the best article, with its sentences that answer, or else its first three."""
    text = _spelled(request)
    articles = turn.use("search_knowledge_base", query=" ".join(text.split()[:20])).split("\n\n")
    title, _, body = articles[0].partition("\n")
    if not body:  # the tool says that nothing was found
        return UNKNOWN
    words = {ANSWERED_BY.get(word, word) for word in re.findall(r"[a-z-]{3,}", text)}
    words -= SMALL_WORDS | set(title.lower().split())

    def score(sentence: str) -> int:
        known = re.findall(r"[a-z-]+", sentence.lower())
        return sum(2 if w in known else any(k.startswith(w[:5]) for k in known) for w in words)

    sentences = re.split(r"(?<=[.!?])\s+(?=[A-Z])", body)
    most = max(map(score, sentences))
    chosen = [s for s in sentences if 2 * score(s) > most] if most else sentences
    return f"**{title}**: {' '.join(chosen[:3])}"


def _product(turn: Turn, request: str) -> str:
    nouns = _nouns(request)
    if not nouns and turn.subject.startswith("ORD"):
        return _order(turn, request)
    if not nouns and turn.subject:
        return _product_card(turn.use("get_product", sku=turn.subject))
    found = _product_lines(turn.use("search_products", query=" ".join(nouns[:6])))
    if not found:  # a typo, or a word too many: look through all products
        products = _product_lines(turn.use("search_products", query=""))
        found = _naming(products, nouns)
        if not found:
            return "I find no such product. These are the ones I see:\n\n" + "\n".join(products)
    if len(found) > 1:
        return "\n".join(found)
    return _product_card(turn.use("get_product", sku=re.findall(SKU, found[0])[0]))


def _product_lines(output: str) -> list[str]:
    """`Aero 14 Laptop (LAP-14): $1,299.99, 12 in stock`, each as an item of a Markdown list."""
    return [
        re.sub(r"^([^(]+) \(", r"- **\1** (", s) for s in output.splitlines() if re.search(SKU, s)
    ]


def _product_card(output: str) -> str:
    return re.sub(r"^([^(\n]+) \(", r"**\1** (", output).replace("\n", ". ", 1)


# Everybody


def _recall(turn: Turn, request: str) -> str:
    if not turn.earlier:
        return "This is your first message in this conversation."
    return "Your last messages before this one:\n\n" + "\n".join(
        f"- {m}" for m in turn.earlier[-3:]
    )


def _who_am_i(turn: Turn, request: str) -> str:
    found = re.search(r"customer is ([^,\n]+), tier (\w+)", turn.instructions)
    return f"You are signed in as **{found[1]}**, tier **{found[2]}**." if found else UNKNOWN


def _no_rule(turn: Turn, request: str) -> str:
    """`and the lamp?` is about what this agent does; everything else is for triage to answer."""
    if re.match(r"(?i)\W*(and|or|what about|how about)\b", request) or len(request.split()) <= 2:
        if "get_product" in turn.offered:
            return _product(turn, request)
        if "get_order" in turn.offered:
            return _order(turn, request)
    turn.hand_off("transfer_to_triage")
    return f"I do not know about that: I only help with this shop. {SKILLS}"


SKILLS = (
    "I can look up and track your orders, return one, and answer questions on products, shipping, "
    "payment, warranty and the loyalty program. For example:\n\n- where is my order?\n"
    "- I want to return my last order, not powerful enough\n- how much is express shipping?\n\n"
    "I am a rule-based stand-in and understand simple English only; with OPENAI_API_KEY set, a "
    "real model answers here."
)
GREETING = f"Hello! {SKILLS}"
THANKS = "All right. I am here when you need anything else."
KEEP = "All right, everything stays as it is."
IMPOSSIBLE = (
    "An order cannot be cancelled, exchanged or sent to another address here. What you can do: once "
    "it is delivered, return it in this chat. For all else, write to support@example.com."
)
OTHERS = "I see the orders of the account that is signed in, and no others. Ask me for your orders."
SMALL_WORDS = frozenset(
    "about again all also and another any are arrive arrived available back been big bring bought buy"
    " can card catalog cheap cheapest could cost costs deliver delivered delivery did do does doing"
    " don't enough far find for from get give got had has have hello help here hey hi how i'd i'm in"
    " is it it's its just know last latest let like list long look looking many me more much my need"
    " new newest no not now number of on one or order ordered orders other our package packages parcel"
    " parcels pay paid please pls price prices product products recent refund return send sell ship"
    " shipped show so some spend spent start status still stock stuff take tell than that the their"
    " them then there these they thing things this to today too track tracking up us want was way we"
    " were what what's when where where's which who why will with would yes you your".split()
)

# What a message is about, and the rule or the text that answers it: the first row that fits.
Rule = Callable[[Turn, str], str]
RULES: list[tuple[str, Rule | str]] = [
    (r"remember|(did|have) (i|we) (ask|say|said|talk|discuss)|(last|previous) message", _recall),
    (r"who am i|my (name|tier|level)\b|(what|which) tier", _who_am_i),
    (r"never ?mind|forget (it|that)|keep it|^\W*(no|nope|no,? thanks?( you)?|stop)\W*$", KEEP),
    (r"(?<!noise )cancel|chang.*\baddress|(other|different) address|exchang|swap|replace", IMPOSSIBLE),
    (r"^(?!.*ord-?\d).*(everyone|(other|another|all) (customer|people)|someone else|\badmin\b)"
     r"|^(?!.*ord-?\d).*\b(?!(what|where|when|who|how|it|that|let|here|there)'s)\w+'s (order|return)",
     OTHERS),
    (r"polic(y|ies)|warrant|guarantee|(how|when|until|what if).*(return|refund|money back)|shipping"
     r"|(return|refund) (window|period|time|take)|express|international|abroad|overseas"
     r"|(how|what|free).*deliver\w* (take|cost|time|option)|you (ship|deliver) to", _help_article),
    (RETURN, _give_back),
    (r"broke|defect|damage|faulty|(not|n't|stopped) work|repair|pay(ment|pal| by| with)|credit card"
     r"|invoice|instal|charged|loyalty|points|bonus|platinum|\bgold\b|password|e-?mail|contact"
     r"|phone number|\bcall\b|human|real person|someone|opening|hours|my account", _help_article),
    (r"\bord-?\d|order|track|parcel|package|deliver|shipped|\bship\b|arriv|status|my purchase"
     r"|where.*\b(my|is|are)\b|\bi (bought|paid|spen)|did i (buy|pay|spend)|^\W*\d{4}\W*$", _order),
    (r"price|cost|how (much|many)|stock|availab|\bsell|(you|got) (have|any|carry)|product|catalog"
     r"|\bbuy\b|looking for|(tell|know).*\babout|more about|recommend|cheap|expensive|descri"
     r"|^\W*(and |so )?(is|are|does|has|can) (the|your|it|this)\b", _product),
    (r"thank|\bthx|cheers|\bbye|^\W*(ok(ay)?|great|cool|fine|good|perfect|yes|yep)\W*$", THANKS),
    (r"^\W*(hi|hello|hey|hiya|good (morning|afternoon|evening|day)|help)\b|how does this work"
     r"|(what|who) (can|are) you|are you an?\b", GREETING),
    (r"", _no_rule),
]  # fmt: skip
SMALL_TALK = (_no_rule, THANKS, GREETING)
VOCABULARY = sorted(
    {word for row in RULES for word in re.findall("[a-z]{5,}", re.sub(r"\\.", " ", row[0]))}
)

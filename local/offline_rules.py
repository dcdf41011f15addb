"""What the rule-based model understands and says: RULES, at the end, is the table of it.

Typos are forgiven, a message may hold two requests, and follow-ups such as "return it" work. It is
no language model, and says so where it has no answer.
"""

from __future__ import annotations

import difflib
import functools
import json
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

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


class Wanted(Exception):
    """The name and arguments of a tool or handoff that a rule needs before it can answer."""


class OutOfReach(Exception):
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
            raise Wanted(tool, arguments)
        self.hand_off(OWNERS[tool])
        raise OutOfReach

    def hand_off(self, handoff: str) -> None:
        """Once per message, so that two agents never pass it to and fro; then it just returns."""
        if handoff in self.offered and handoff not in {name for name, _ in self.done}:
            raise Wanted(handoff, {})

    @property
    def subject(self) -> str:
        """The order or product last spoken of, such as ORD-1001; empty where it is unclear."""
        for text in reversed(self.seen):
            found = set(re.findall(ORDER, text)) or set(re.findall(SKU, text))
            if found:
                return found.pop() if len(found) == 1 else ""
        return ""


# From a message to its requests

ORDER = r"ORD-\d{4,10}"
SKU = r"\b[A-Z]{3}-\d\d\b"
TYPED_ORDER = (
    r"(?i)\b(?:ord|order|return|refund|track)[\s#:-]*(?:number|no\.?)?[\s#:-]*(\d{3,10})\b"
    r"|#(\d{4,10})\b|^\W*(\d{4})\W*$"
)
QUESTION = r"(?i)\?|^\W*(where|what|when|how|who|can|could|show|list|tell|hi|hello|hey)\b"
# A new sentence, or "and" before a word that opens a request: "slow and heavy" stays one.
NEXT_REQUEST = (
    r"(?i)(?<=[.?!])\s+|\n+|,?\s+(?=(?:and|also|then)\s+(?:also|please|what|where|when|how|who|do"
    r"|does|can|could|is|are|tell|show|list|return|refund|track|send|the|your|my|i|i'd|ord-\d+)\b)"
)
PRONOUN = r"\b(it|its|it's|this|that|them|they)\b"
ASK_REASON = "Why would you like to return it?"
ASK_ORDER = "Which order would you like to return?"


def answer(turn: Turn) -> str:
    """The answer to the customer's last message; raises Wanted where a tool is needed first."""
    answers: list[str] = []
    requests = _requests(turn)
    for request in requests[:MAX_REQUESTS]:
        rule = _rule(request)
        try:
            answers.append(rule if isinstance(rule, str) else rule(turn, request))
        except OutOfReach:
            answers.append(UNKNOWN)
    for request in requests[MAX_REQUESTS:]:
        answers.append(f"One thing after the other. Please ask this next: {request}")
    # Our question comes last: the customer's next message is the answer to it.
    answers.sort(key=lambda text: text.endswith((ASK_REASON, ASK_ORDER)))
    return "\n\n".join(dict.fromkeys(answers))


def _requests(turn: Turn) -> list[str]:
    """The requests in the message; an answer to a question of ours becomes one."""
    message = turn.message.strip()
    numbers = re.findall(ORDER, turn.said)
    if _rule(message) not in (KEEP, IMPOSSIBLE) and not re.search(QUESTION, message):
        if turn.said.endswith(ASK_ORDER) and not re.search(RETURN, message, re.I):
            reason = _reason(" ".join(turn.earlier[-1:]))
            return [f"return {message}" + (f" because {reason}" if reason else "")]
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
    return [re.sub(r"(?i)^(and|also|then)\s+", "", request) for request in requests]


def _rule(request: str) -> Rule | str:
    text = _spelled(request)
    return next(rule for pattern, rule in RULES if re.search(pattern, text))


@functools.lru_cache(maxsize=100)
def _spelled(text: str) -> str:
    """`Retrun polcy` -> `return policy`: a word that is nearly one of the table's becomes it."""

    def near(word: re.Match[str]) -> str:
        if word[0] in SMALL_WORDS or word[0].startswith(VOCABULARY):
            return word[0]
        close = difflib.get_close_matches(word[0], VOCABULARY, n=1, cutoff=0.83)
        return close[0] if close else word[0]

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
OTHER_STATUS = "has the status **{status}**; its tracking number is {tracking}."


def _order(turn: Turn, request: str) -> str:
    text = _spelled(request)
    waiting = re.search("where|when|track|arriv|waiting", text)
    numbers, listed = _meant(turn, request, "processing|shipped" if waiting else "")
    if len(numbers) == 1:
        return _explained(turn.use("get_order", order_id=numbers[0]), text)
    return f"Your orders:\n\n{listed}" if numbers else listed


def _meant(turn: Turn, request: str, likely: str) -> tuple[list[str], str]:
    """The numbers of the orders that may be meant, and these orders as a Markdown list.

    Of several, the only one whose status is a `likely` one is taken to be meant.
    """
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
    if chosen := _naming(lines, nouns or _nouns(turn.message)):
        lines = chosen
    elif re.search("last|latest|newest|recent", text):
        lines = lines[:1]
    fitting = [line for line in lines if likely and re.match(rf"\S+ ({likely}),", line)]
    lines = fitting if len(fitting) == 1 else lines
    return [line.partition(":")[0] for line in lines], _bullets(lines) or output


def _explained(order: str, question: str) -> str:
    """An order in a few sentences; where get_order found none, what it said instead."""
    fields: dict[str, str] = defaultdict(lambda: "(unknown)")
    for line in order.splitlines():
        name, _, value = line.partition(": ")
        fields[name.lower()] = value
    number = re.search(ORDER, order)
    if number is None or "status" not in fields:
        return order
    items = re.findall(r"(?m)^Item: (.+)", order)
    names = ", ".join(re.sub(r"^1 x | \(.*", "", item) for item in items)
    sentence = STATUSES.get(fields["status"], OTHER_STATUS).format_map(fields)
    text = f"Order **{number[0]}** ({names}) {sentence}"
    if "return reason" in fields:
        text += f" Reason: {fields['return reason']}. "
        text += f"Estimated refund: {fields['estimated refund']}."
    if fields["status"] == "shipped" and re.search("when|arriv|how long", question):
        text += " It does not say on which day it will arrive."
    if re.search(r"cost|total|much|pa(y|id)|spen|item|what.*(\bin\b|buy|bought)", question):
        text += "\n\n" + _bullets([*items, f"Total: {fields['total']}"])
    return text


def _give_back(turn: Turn, request: str) -> str:
    numbers, listed = _meant(turn, request, "delivered")
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
        return f"Order {numbers[0]} stays as it is: you did not say yes, so nothing was returned."
    return output  # word for word, a refusal as well


RETURN = r"\breturn(?!ed\b)|refund|(send|give|take|bring)\b.*\bback\b|money back"
BECAUSE = (
    r"(?is)(?:\b(?:reason(?: is)?:?|because|becuase|cause|since|due to|as(?= (?:it|i)\b))"
    r"(?: of)?\s+)+(.+)"
)
CLAUSE_END = r"(?i)[,;:!?\n]+|\.(?:\s|$)|\s[-\u2013\u2014]+\s|\b(?:so|but)\b|\bord-?\d+\b"
COMPLAINT = r"(?i)\b(too|not|wrong|never|mistake|hate|mind|enough|broke\w*|damaged|faulty)\b|n't\b"
# Beside a return, but no reason: the words of one who is polite, or who wants no question.
NO_REASON = (
    r"(?i)^\W*(and|please|pls|thanks?|thank you|asap|now|today|yes|ok|hi|hello|hey|it|them)?\W*$"
    r"|confirm|approv|\badmin|\bask\b|right away|immediately"
)


def _reason(text: str) -> str:
    """`return ORD-1001, not powerful enough` -> `Not powerful enough`; empty if none."""
    text = text[:500]  # the patterns take seconds on pages of "because"
    found, asked = re.search(BECAUSE, text), False
    reason = found[1] if found else ""
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
# Words of a question, and the words of a sentence that answers it.
DURATION = {"day", "month"}
ANSWERED_BY = {
    **{"when": DURATION, "long": DURATION, "time": DURATION},
    **{"much": {"cost"}, "human": {"person"}, "phone": {"call"}},
}


def _help_article(turn: Turn, request: str) -> str:
    """The title of the best article, with its sentences that answer, or else its first three."""
    text = _spelled(request)
    articles = turn.use("search_knowledge_base", query=" ".join(text.split()[:20])).split("\n\n")
    title, _, body = articles[0].partition("\n")
    if not body:  # the tool says that nothing was found
        return UNKNOWN
    words = set(_stems(text, SMALL_WORDS)) - set(_stems(title))
    words = words.union(*(ANSWERED_BY.get(word, ()) for word in re.findall("[a-z]+", text)))

    def score(sentence: str) -> int:
        known = _stems(sentence)
        return sum(2 if w in known else any(k.startswith(w[:5]) for k in known) for w in words)

    sentences = re.split(r"(?<=[.!?])\s+(?=[A-Z])", body)
    most = max(map(score, sentences))
    chosen = [s for s in sentences if 2 * score(s) > most] if most else sentences
    return f"**{title}**: {' '.join(chosen[:3])}"


def _stems(text: str, but: frozenset[str] = frozenset()) -> list[str]:
    words = re.findall(r"[a-z]{2,}(?:['-][a-z]+)*", text.lower())
    return [word.removesuffix("s") for word in words if word not in but]


def _product(turn: Turn, request: str) -> str:
    nouns = _nouns(request)
    if not nouns and turn.subject.startswith("ORD"):
        return _order(turn, request)
    if not nouns and turn.subject:
        return _product_card(turn.use("get_product", sku=turn.subject))
    found = _priced(turn.use("search_products", query=" ".join(nouns[:6])))
    if not found:  # a typo, or a word too many: look through all products
        products = _priced(turn.use("search_products", query=""))
        found = _naming(products, nouns)
        if not found:
            return f"I find no such product. These are the ones I see:\n\n{_bullets(products)}"
    if len(found) > 1:
        return _bullets(found)
    return _product_card(turn.use("get_product", sku=re.findall(SKU, found[0])[0]))


def _priced(output: str) -> list[str]:
    return [line for line in output.splitlines() if re.search(SKU, line)]


def _product_card(output: str) -> str:
    return re.sub(r"^([^(\n]+) \(", r"**\1** (", output).replace("\n", ". ", 1)


def _bullets(lines: list[str]) -> str:
    """A Markdown list, with the name before the first bracket or colon in bold."""
    return "\n".join(re.sub(r"^([^:(]+)( \(|:)", r"- **\1**\2", line) for line in lines)


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
    goes_on = re.match(r"(?i)\W*((and|or|what about|how about)\b|(the|my) \S+( \S+)?$)", request)
    if "get_product" in turn.offered and (goes_on or len(request.split()) <= 2):
        return _product(turn, request)
    if "get_order" in turn.offered and goes_on:
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
    "An order cannot be cancelled, exchanged or sent to another address here. What you can do: "
    "once it is delivered, return it in this chat. For all else, write to support@example.com."
)
OTHERS = "I see the orders of the account that is signed in, and no others. Ask me for yours."
SMALL_WORDS = frozenset(
    "about again all also and another any are arrive arrived available back be been big bought "
    "bring but buy by can card catalog cheap cheapest cost costs could deliver delivered delivery "
    "did do does doing don't enough far find for from get give got had has have hello help here "
    "hey hi how i'd i'm if in into is it it's its just know last latest let like list long look "
    "looking many me more much my need new newest no not now number of on one only or order "
    "ordered orders other our package packages paid parcel parcels pay please pls price prices "
    "product products recent recommend refund return sell send shipped show so some something "
    "spend spent start status still stock stuff take tell than that the their them then there "
    "these they thing things this to today too track tracking under until up us used using want "
    "was way we were what what's when where where's which who why will with would yes you "
    "your".split()
)

# What a message is about, and the rule or the text that answers it: the first row that fits.
Rule = Callable[[Turn, str], str]
RULES: list[tuple[str, Rule | str]] = [
    (r"remember|(did|have) (i|we) (ask|say|said|talk|discuss)|(last|previous) message", _recall),
    (r"who am i|know about me|my (name|tier|level)\b|(what|which) tier", _who_am_i),
    (r"never ?mind|forget (it|that)|keep it|^\W*(no|nope|no,? thanks?( you)?|stop)\W*$", KEEP),
    (r"(?<!noise )cancel|chang.*(?<!mail )address|different address|exchang|swap|replace",
     IMPOSSIBLE),
    (r"^(?!.*\d{4}).*(everyone|(other|all) customer|someone else|\badmin\b|[a-z]'s orders?\b)",
     OTHERS),
    (r"^(?!.*(\d{4}|status))(.*(, |me |know ))?(how|why|when|until|what)\b.*(return|refund|money"
     r"|get back)"
     r"|policy|policies|warrant|guarantee|shipping|express|international|abroad|overseas"
     r"|(return|refund) (window|period|time|take)|you (ship|deliver) to"
     r"|(how|what|free).*deliver\w* (take|cost|time|option)", _help_article),
    (RETURN, _give_back),
    (r"broke|defect|damage|faulty|(not|n't|stopped) work|repair|pay(ment|pal| by| with)|credit card"
     r"|invoice|instal|charged|loyalty|points|bonus|platinum|\bgold\b|password|e-?mail|contact"
     r"|phone number|\bcall\b|human|real person|someone|opening|hours|my account", _help_article),
    (r"\bord-?\d|order|track|parcel|package|deliver|shipped|\bship\b|arriv|status|waiting"
     r"|where.*\b(my|is|are)\b|\bi (bought|paid|spen)|did i (buy|pay|spend)|^\W*\d{4}\W*$", _order),
    (r"price|cost|how (much|many)|stock|availab|\bsell|(you|got) (have|any|carry)|product|catalog"
     r"|\bbuy\b|looking for|(tell|know).*\babout|more about|recommend|cheap|expensive|descri"
     r"|^\W*(and |so )?(is|are|does|has|can) (the|your|it|this)\b", _product),
    (r"thank|\bthx|cheers|bye\b|^\W*(ok(ay)?|great|cool|fine|good|perfect|yes|yep)\W*$", THANKS),
    (r"^\W*(hi|hello|hey|hiya|good (morning|afternoon|evening|day)|help)\b|how does this work"
     r"|(what|who) (can|are) you|are you an?\b", GREETING),
    (r"", _no_rule),
]  # fmt: skip
SMALL_TALK = (_no_rule, THANKS, GREETING)
VOCABULARY = tuple(
    {word for row in RULES for word in re.findall("[a-z]{5,}", re.sub(r"\\.", " ", row[0]))}
)

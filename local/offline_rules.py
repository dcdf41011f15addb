"""What the rule-based model understands and says: RULES, at the end, is the table of it.

Typos are forgiven, a message may hold two requests, and follow-ups such as "return it" work.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from difflib import get_close_matches

from local.offline_turn import ORDER, SKU, OutOfReach, Turn

MAX_REQUESTS = 2  # in one message: each may take a handoff, and the runner counts max_turns
ASK_REASON = "Why would you like to return it?"
ASK_ORDER = "Which order would you like to return?"


def answer(turn: Turn) -> str:
    """The answer to the customer's last message. Raises Wanted if a tool is needed first."""
    answers: list[str] = []
    for number, (rule, request) in enumerate(_requests(turn), 1):
        if number > MAX_REQUESTS:
            rule = f"One thing after the other. Please ask this next: {request}"
        try:
            answers.append(rule if isinstance(rule, str) else rule(turn, request))
        except OutOfReach:
            answers.append(UNKNOWN)
    # Our question comes last: the customer's next message is the answer to it.
    answers.sort(key=lambda text: text.endswith((ASK_REASON, ASK_ORDER)))
    text = "\n\n".join(dict.fromkeys(answers))
    for known in (SKILLS, NOTE):  # say each once in a conversation
        if known in "\n".join(turn.spoken):
            text = text.replace(known, "").rstrip()
    return text


TYPED_ORDER = r"(?i)(?:\b(?:ord|order|return|refund|track|of)\W*(?:n\w+)?\W*|#|^\W*)(\d{4,10})\b"
PRONOUN = r"(?i)\b(it|its|it's|this|that|them|they)\b"
# A new sentence, or "and" before a word that opens a request: "slow and heavy" stays one.
NEXT_REQUEST = (
    r"(?i)(?<=[.?!])\s+|\n+|,\s+(?=(?:wh(?:at|ere|en|o|y)'?s?|how|can|i'd|i want)\b)"
    r"|,?\s+(?=(?:and|n|also|then)\s+(?:also|please|wh(?:at|ere|en|o|y)'?s?|how|do"
    r"|does|can|could|is|are|tell|show|list|return|refund|track|send|my|i|i'd|ord-\d+)\b)"
)


def _requests(turn: Turn) -> list[tuple[Rule | str, str]]:
    """The parts of the message, each with its rule; no part that is only a return's reason."""
    found: list[tuple[Rule | str, str]] = []
    for part in re.split(NEXT_REQUEST, turn.message.strip()):
        rule = next(rule for pattern, rule in RULES if re.search(pattern, _spelled(part)))
        before, text = found[-1] if found else ("", "")
        if before and (rule is _no_rule or before in (rule, OTHERS)) and re.search(PRONOUN, part):
            found[-1] = (before, f"{text} {part}")
        else:
            found.append((rule, re.sub(r"(?i)^(and|n|also|then)\s+", "", part)))
    if any(rule is _give_back for rule, _ in found):
        found = [f for f in found if f[0] not in MAY_BE_REASONS or not reason(f[1])]
    elif turn.answers(ASK_REASON, ASK_ORDER):
        found = [_return_meant(turn, *f) for f in found]
    # Beside a request, a greeting or a sentence that asks nothing needs no answer.
    talk = [f for f in found if f[0] in SMALL_TALK or (f[0] is _no_rule and "?" not in f[1])]
    return [f for f in found if f not in talk] or found[-1:]


def _return_meant(turn: Turn, rule: Rule | str, part: str) -> tuple[Rule | str, str]:
    """The return that we asked about, if `part` may be the answer; else what was given."""
    number = typed_order(part)
    if "cancel" in part and not number:
        return KEEP, part
    named = rule in NAMES and (number or turn.answers(ASK_ORDER)) and "?" not in part
    if named or rule in (_no_rule, CARRY_ON) or (rule in MAY_BE_REASONS and reason(part)):
        asked = re.findall(ORDER, turn.spoken[-1]) if turn.answers(ASK_REASON) else []
        return _give_back, f"return {number or [part, *asked][-1]}"
    return rule, part


def typed_order(text: str) -> str:
    return "".join(f"ORD-{number}" for number in re.findall(TYPED_ORDER, text)[:1])


@functools.lru_cache
def _spelled(text: str) -> str:
    """`Dont retrun` -> `don't return`: a word that is nearly one of the table's becomes it."""

    def near(word: re.Match[str]) -> str:
        known = word[0].startswith(SMALL_WORDS + VOCABULARY)
        close = [] if known else get_close_matches(word[0], VOCABULARY, 1, 0.83)
        return close[0] if close else word[0]

    negation = r"\b(do|does|dos|did|is|was|wo|ca|has|have|are|could|would)nt\b"
    text = re.sub(negation, r"\1n't", text[:1000].lower())
    return re.sub(r"[a-z]{4,14}", near, text)


def _nouns(text: str) -> list[str]:
    """The words of `text` that may name an item."""
    words = re.findall(r"\b[a-z]{4,}\b(?!')", _spelled(text))
    return [word.removesuffix("s") for word in words if not word.startswith(SMALL_WORDS)]


def _naming(lines: list[str], nouns: list[str]) -> list[str]:
    """The lines that name the most of `nouns`, typos forgiven. None, if no line names one."""
    known = [re.findall(r"[\w-]{3,}", line.lower()) for line in lines]
    hits = [sum(bool(get_close_matches(n, words, 1, 0.8)) for n in nouns) for words in known]
    return [line for line, hit in zip(lines, hits, strict=True) if hit and hit == max(hits)]


# A reason for a return stands after "because", or is a clause that tells what is wrong. A no, a
# wait, a question, an address or another wish is no reason, whatever words it has.

BECAUSE = r"(?is)\b(?:reason(?: is)?:?|because|becuase|cause|cuz|bc|since|due to)(?: of)?\s+(.+)"
CLAUSE_END = (
    r"(?i)[,;:!\n]+|\.(?:\s|$)|(?<=\?)\s|\s[-\u2013\u2014]+\s|\b(?:so|but|because|as it|ord)\b"
    r"|\b-?\d{4,10}\b|\s(?:and )?(?=please\b|thank|(?:it|they)(?:'?s|'?re| is| are| was| were)\b)"
)
WRONG = (
    r"\b(too(?!\W*$)|not?|never|wrong|mistake|accident|broke\w*|damaged?|faulty|defect\w*|dead"
    r"|crack\w*|scratch\w*|missing|hate|dislike|disappoint\w*|chang\w* (my|her|his) mind|cheaper"
    r"|expensive|twice|another one|already (has|have|own|got)|gift|present|hurts?|crash\w*"
    r"|(bad|poor|better|suck|garbage|weird|slow|loud|ugly)\w*)\b|n't\b|^(its?|it's|they|s?he) \w+"
    r"|^(the|my|this|that)\b.* (is|are|was|were|has|had|keeps?|looks?|feels?|smells?|makes?)\b"
)
NO_REASON = (
    r"\?|@|\b(return|refund|send|undo|confirm|approv\w*|admin|ask|tell|know|matter|care|business"
    r"|questions?|understand|sure|yet|right away|please|thank\w*|sorry)\b|\bi'(d|ll)\b|^no$"
    r"|\bmy (name|order|number|address|phone)\b|(\bi|n't|not) (want|need|wish|mean|will)\b"
    r"|\b(no|not) (wait|way|idea|reason|problem|need|i|not|now|today|that|this|the|it|my|really)\b"
    r"|^(what|why|how|when|where|who|which|hello|hi|hey|wait|stop|keep|leave|let|show|give)\b"
    r"|^(do|does|did|is|are|was|can|could|will|would|has|have) (it|they|there|you|i|we|the|my)\b"
    r"|^(it'?s|it is|that'?s) (the|my|me|ok\w*|fine|nothing|all|just)\b"
)


def reason(text: str) -> str:
    """`return ORD-1001, not powerful enough` -> `Not powerful enough`; empty if none."""
    text = text[:500]  # the patterns take seconds on pages of "because"
    told = re.search(BECAUSE, text)
    parts = re.split(CLAUSE_END, told[1] if told else text)
    clauses = [clause for part in parts if (clause := re.sub(r"^\W+|(\W+and)?\W*$", "", part))]
    wrong = "" if told else WRONG  # after "because", a clause need not say what is wrong
    kept = [c for c in clauses if re.search(wrong, _spelled(c))]
    kept = [c for c in kept if not re.search(NO_REASON, _spelled(c))] or kept[: bool(told)]
    joined = ", ".join(dict.fromkeys(kept))
    return joined[:1].upper() + joined[1:]


def _order(turn: Turn, request: str) -> str:
    text = _spelled(request)
    waiting = re.search("where|when|track|arriv|waiting|way|lost|late", text)
    likely = "processing|shipped" if waiting else ""
    likely = "delivered" if re.search("return|refund|back", text) else likely
    numbers, listed = _meant(turn, request, likely)
    return _explained(turn, numbers[0]) if len(numbers) == 1 else listed


def _meant(turn: Turn, request: str, likely: str) -> tuple[list[str], str]:
    """The numbers of the orders that may be meant, and these orders as a Markdown list.

    If several fit and only one has a `likely` status, that one is meant.
    """
    text, nouns = _spelled(request), _nouns(request)
    points_back = re.search(PRONOUN, text)
    if number := typed_order(request) or (points_back and typed_order(turn.message)):
        return [number], ""
    spoken_of = [turn.subject] if turn.subject.startswith("ORD") else []
    every = re.search(r"\b(all|both|every\w*|(?<!one of my )orders)\b", text)
    anew = every or re.search(r"\b(other|orders|my (\w+ )?(order|stuff|package|parcel))\b", text)
    if spoken_of and not (nouns or anew):
        return spoken_of, ""
    output = turn.use("list_orders")
    lines = re.findall(rf"(?m)^{ORDER}.*", output)
    named = _naming(lines, nouns)
    if spoken_of and points_back and not (named or anew):
        return spoken_of, ""
    lines = named or _naming(lines, _nouns(turn.message)) or lines
    fitting = [line for line in lines if likely and re.match(rf"\S+ ({likely}),", line)]
    # "The headphones", if no order has any: say what there is, and pick nothing.
    item = re.search(rf"\b(the|my|these|those) (?!{'|'.join(SMALL_WORDS)})[a-z]{{4}}", text)
    if re.search(r"\b(last|latest|newest)\b", text):
        lines = (fitting if "delivered" in text else lines)[:1]
    elif len(fitting) == 1 and not every and (named or not item):
        lines = fitting
    listed = f"Your orders:\n\n{_bullets(lines)}" if lines else output
    return [line.partition(":")[0] for line in lines], listed


def _explained(turn: Turn, number: str) -> str:
    """An order in a few sentences. If get_order finds none, what it says instead."""
    order = turn.use("get_order", order_id=number)
    if "\nStatus: " not in order:
        return order
    title, status, *facts = order.splitlines()
    told = f"{title.replace(number, f'**{number}**')} is **{status.removeprefix('Status: ')}**:\n\n"
    told += f"{_bullets(facts)}\n\n".replace("Processing", "Placed", 1)
    if "**shipped**" in told:
        return f"{told}It does not say on which day it will arrive."
    window = r"(?s)Delivered: (\d+ \w+ \d+)\n.*within (\d+) days.*Today is (\d+ \w+ \d+)"
    found = re.search(window, f"{order}\n{turn.instructions}")
    if "**delivered**" not in told or not found:
        return told.rstrip()
    delivered, today = (datetime.strptime(found[n], "%d %b %Y") for n in (1, 3))
    last = delivered + timedelta(days=int(found[2]))
    until = f"{last.day} {last:%b %Y}"
    if last < today:
        return f"{told}It cannot be returned: the {found[2]}-day window closed on {until}."
    return f"{told}It can be returned until {until}."


def _give_back(turn: Turn, request: str) -> str:
    numbers, listed = _meant(turn, re.split(BECAUSE, request)[0], "delivered")
    only = "Only a delivered order that has no return already can be returned"
    if len(numbers) != 1:
        return f"{listed}\n\n{only}, one at a time. {ASK_ORDER}" if numbers else listed
    told = _explained(turn, numbers[0])
    if "**" not in told or "window closed" in told:
        return told
    if "**delivered**" not in told:
        return f"{told}\n\n{only}."
    earlier = turn.earlier[-1] if turn.answers(ASK_ORDER) else ""
    if why := reason(request) or reason(turn.message) or reason(earlier):
        output = turn.use("initiate_return", order_id=numbers[0], reason=why)
        if re.match(r"(?!Return initiated).*(not approved|said no)", output):
            return f"Order {numbers[0]} stays as it is: without your yes, nothing was returned."
        return output  # word for word, a refusal as well
    if turn.answers(ASK_REASON):  # once already
        told = f'A return of {numbers[0]} needs a reason, like "too heavy". Or say "never mind".'
    return f"{told}\n\n{ASK_REASON}"


def _returns_made(turn: Turn, request: str) -> str:
    """The returns that were made, and when the money comes."""
    made = re.findall(rf"(?m)^({ORDER}): return initiated", turn.use("list_orders"))
    told = [_explained(turn, number) for number in made[:MAX_REQUESTS]]
    told += re.findall(r"It goes to the original[^.]*\.", turn.instructions)
    return "\n\n".join(told) if made else "None of your orders has a return."


def _help_article(turn: Turn, request: str) -> str:
    text = re.sub("someone|manager|agent", "person", _spelled(request))
    found = turn.use("search_knowledge_base", query=text.replace("money", "money refund"))
    title, _, body = found.split("\n\n")[0].partition("\n")
    return f"**{title}**: {body}" if body else UNKNOWN


def _product(turn: Turn, request: str) -> str:
    text = _spelled(request)
    nouns = [] if "cheap" in text else _nouns(request)
    of_all = re.search("product|sell|anything|recommend|cheap|you have", text)
    subject = turn.subject if re.search(PRONOUN, text) or not (nouns or of_all) else ""

    def search(query: str) -> list[str]:
        return re.findall(rf"(?m)^.*{SKU}.*$", turn.use("search_products", query=query))

    # A search finds nothing if there is a typo or a word too many: look through all products.
    found = [] if subject and not nouns else search(" ".join(nouns)) or _naming(search(""), nouns)
    if not found and subject.startswith("ORD"):
        return _order(turn, request)
    if not found and subject:
        found = [subject]
    if not found:
        return f"I find no such product. These are the ones I see:\n\n{_bullets(search(''))}"
    # "The laptop" is the Aero 14 Laptop, not the Felt Laptop Sleeve.
    called = [line for line in found if _naming([line.partition(" (")[0].split()[-1]], nouns)]
    found = called if len(called) == 1 else found
    if len(found) > 1:
        return _bullets(found)
    card = turn.use("get_product", sku=re.findall(SKU, found[0])[0])
    return re.sub(r"^([^(\n]+) \(", r"**\1** (", card).replace("\n", ". ", 1)


def _bullets(lines: list[str]) -> str:
    """A Markdown list, with the name before the first bracket or colon in bold."""
    return "\n".join(re.sub(r"^([^:(]+)( \(|:)", r"- **\1**\2", line) for line in lines)


def _recall(turn: Turn, request: str) -> str:
    return "\n- ".join(["Your last messages before this one:\n", *turn.earlier[-3:]])


def _who_am_i(turn: Turn, request: str) -> str:
    found = re.search(r"customer is (.+)\. Today", turn.instructions)
    return f"You are signed in as {found[1]}." if found else UNKNOWN


def _no_rule(turn: Turn, request: str) -> str:
    """`keyboard`, `and the lamp?` name an order or a product. Triage answers all else."""
    more = r"^\W*(ok )?((and|or|(what|how) about)\b|(the|my) \S+( \S+)?$|[a-z]{4,}\W*$)|i mean\b"
    if re.search(more, request, re.I):
        return _order(turn, request) if "get_order" in turn.offered else _product(turn, request)
    turn.hand_off("transfer_to_triage")
    return f"I only help with this shop's orders, products and policies.\n\n{SKILLS}"


NOTE = "I am rule-based and know simple English. With OPENAI_API_KEY set, a real model answers."
SKILLS = (
    "I can look up, track and return your orders, and answer questions on products, shipping, "
    "payment, warranty and the loyalty program. For example:\n\n- where is my order?\n- I want to "
    f"return my last order, not powerful enough\n- how much is express shipping?\n\n{NOTE}"
)
WRITE = "Please write to support@example.com."
UNKNOWN = f"I do not know that. {WRITE} {NOTE}"
HELLO = f"Hello, how can I help? {SKILLS}"
THANKS = "You are welcome. I am here when you need anything else."
CARRY_ON = "All right. I am here when you need anything else."
GOODBYE = "Goodbye, and come back any time."
KEEP = "All right, everything stays as it is."
WHOLE = "Only a whole order can be returned. For that, tell me its number and the reason."
OTHERS = "I see the orders of the account that is signed in, and no others. Ask me for yours."
UNDO = f"A return that is made cannot be undone here. {WRITE}"
IMPOSSIBLE = (
    "An order cannot be cancelled, exchanged or sent to another address here. Once it is "
    f"delivered, you can return it in this chat. {WRITE}"
)
# Words that name no item, by how they begin.
SMALL_WORDS = tuple(
    "about also any arriv avail been bought cheap cost could deliver does from give have help "
    "here just know last like list long look many mean money more much need number offer only "
    "order other package parcel please price product refund return sell send ship show some "
    "status still stock take tell than that their them then there they this time today track "
    "want were what when where which will with would your".split()
)

# What a message is about, and the rule or the text that answers it. The first row that fits counts.
Rule = Callable[[Turn, str], str]
RULES: list[tuple[str, Rule | str]] = [
    (r"remember|(did|have) (i|we) (ask|say|said|talk|discuss)|(last|previous) message", _recall),
    (r"who am i|about me\b|my (name|tier)\b|(what|which) tier|\b(my|i am|i'm)\b.*@", _who_am_i),
    # What is not wanted, or not possible
    (r"\b(undo|revert|withdraw|cancel)\b.*(return|refund)", UNDO),
    (r"never ?mind|forget (it|that)|keep (it|them|that)|(n't|not) (want to )?(return|send|refund)"
     r"|not (that|this) one|no need|^\W*(no|nope|stop|wait|no,? (thanks?( you)?|wait))\W*$", KEEP),
    (r"(?<!noise )cancel|undo|(chang|differ).*(?<!mail )addres|exchang|swap|replace", IMPOSSIBLE),
    (r"^(?!.*\d{4}).*(everyone|(other|all) customer|someone else|\badmin\b|[a-z]'s orders?\b"
     r"|\b(?!whats|wheres|previous)\w+s orders\b|(friend|wife|husband)\b.*order)", OTHERS),
    # Returns: first the questions, last the wish
    (r"(just|only) (one|half|part) of|(return|send)\b.*\b(just|only) (one|the|a|my)\b"
     r"|(just|only)\b.*(return|send).* (one|half|part)\b|keep the (rest|other)", WHOLE),
    (r"^(?=.*(return|send.* back))(?=.*(\d{4}|\b(it|my|the|them|this) (?!re)))"
     r".*(until|too late|how (long|many)|deadline|last day|\bstill\b|be returned)", _order),
    (r"(refund|return) status|where.*(refund|return|money)|\b(i|have|already|was) returned"
     r"|\b(open|any|my|pending) (return|refund)s?\b|did i return", _returns_made),
    (r"^(?!.*\d{4})(.*(, |\b(me|know|so|and|but) ))?(how|why|when|what|who|which|do|does|am|is|are"
     r"|will)\b.*(return|refund|money|send.* back|get back)|(get|have) .*money (on|to)"
     r"|return (policy|window|period)|shipping|deliver\w* (take|cost)", _help_article),
    (r"\breturn(?!ed|s)|refund(?!s)|(send|give|take|bring)\b.*\bback\b|money back", _give_back),
    (r"returns|warranty|guarantee|repair|broke|defect|damage|faulty|(not|n't|stopped) work|express"
     r"|wrong item|international|abroad|(do|can) (you|u) (ship|deliver)|invoice|loyalty|platinum"
     r"|pay(ment|pal| by| in| with)|(how|can|do) .*\bpay\b(?! for)|\bcard\b|instal|points|bonus"
     r"|(am|be|get|got|was) charge|\bgold\b|password|e-?mail|contact|phone number|my account|human"
     r"|manager|agent|\bcall\b|(talk|speak) (to|with)|person|someone|\bopen|hours", _help_article),
    (r"policy|discount|voucher|coupon|price match|gift card|\bsale\b|% off|pick .*up", UNKNOWN),
    (r"\bord-?\d|order|track|parcel|package|deliver|\bship|arriv|status|waiting|my stuff"
     r"|(where|when)\b.*\b(my|is|are|get|come)\b|\bi (bought|paid|spen)|did i (buy|pay|spend)"
     r"|never (got|came)|(n't|not) (here|there|come|got)|^\W*\d{4}\W*$", _order),
    (r"product|catalog|price|cost|cheap|stock|how (much|many|big|heavy|large|loud)|looking for"
     r"|(you|got) (have|any|carry)|\b(buy|sell|recommend|anything)\b|(tell|know|more).* about"
     r"|battery|weigh|colou?r|memory|storage|screen|bluetooth|wireless|\busb|dimm|\bfit\b"
     r"|(do|what).* have\b|^\W*(and |so )?(is|are|does|has|can) (the|your|it|this)\b", _product),
    (r"\b(good)?bye\b|good ?night|see (you|ya)\b|that('s| is) all\b", GOODBYE),
    (r"thank|\bthx|cheers", THANKS),
    (r"^\W*(ok(ay)?|great|cool|fine|good|perfect|yes|yep|hm+|one (sec|mom).*)\W*$", CARRY_ON),
    (r"^\W*(hi|hello|hey|help|good \w+)\b|(what|who|how) (can|are|r) (you|u)\b|are you a\b", HELLO),
    (r"", _no_rule),
]  # fmt: skip
SMALL_TALK = (GOODBYE, THANKS, CARRY_ON, HELLO)
# In the table, the answer to "Which order?" may fit one of these rows, and a reason one of those.
NAMES = (_no_rule, _order, _product)
MAY_BE_REASONS = (*NAMES, _help_article, THANKS)
WORDS = re.sub(r"\\.", " ", " ".join(pattern for pattern, _ in RULES))
VOCABULARY = tuple(sorted(set(re.findall("[a-z]{5,}", WORDS))))

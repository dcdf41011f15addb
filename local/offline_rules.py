"""What the rule-based model understands and says: RULES, at the end, is the table of it.

Typos are forgiven, a message may hold two requests, and follow-ups such as "return it" work.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Callable
from datetime import datetime, timedelta

from local.offline_reason import because, reason, with_apostrophes, without_reason
from local.offline_turn import ORDER, SKU, TYPED_ORDER, OutOfReach, Turn, typed_order

MAX_REQUESTS = 2  # in one message; with a handoff each, more would near the runner's max_turns

# From a message to its requests

PRONOUN = r"(?i)\b(it|its|it's|this|that|them|they)\b"
# A new sentence, or "and" before a word that opens a request: "slow and heavy" stays one.
NEXT_REQUEST = (
    r"(?i)(?<=[.?!])\s+|\n+|,\s+(?=(?:what|where|when|how|who|why|can|i'd|i want)\b)"
    r"|,?\s+(?=(?:and|also|then)\s+(?:also|please|what|where|when|how|who|do"
    r"|does|can|could|is|are|tell|show|list|return|refund|track|send|my|i|i'd|ord-\d+)\b)"
)
ASK_REASON = "Why would you like to return it?"
ASK_ORDER = "Which order would you like to return?"


def answer(turn: Turn) -> str:
    """The answer to the customer's last message; raises Wanted if a tool is needed first."""
    answers: list[str] = []
    requests = _requests(turn)
    for rule, request in requests[:MAX_REQUESTS]:
        try:
            answers.append(rule if isinstance(rule, str) else rule(turn, request))
        except OutOfReach:
            answers.append(_unknown(turn, request))
    for _, request in requests[MAX_REQUESTS:]:
        answers.append(f"One thing after the other. Please ask this next: {request}")
    # Our question comes last: the customer's next message is the answer to it.
    answers.sort(key=lambda text: text.endswith((ASK_REASON, ASK_ORDER)))
    return "\n\n".join(dict.fromkeys(answers))


def _requests(turn: Turn) -> list[tuple[Rule | str, str]]:
    """The parts of the message, each with its rule; a reason joins the return that it is for."""
    asked = re.findall(ORDER, turn.said)[-1:] if turn.said.endswith(ASK_REASON) else []
    which, earlier = turn.said.endswith(ASK_ORDER), " ".join(turn.earlier[-1:])
    found: list[tuple[Rule | str, str]] = []
    for part in re.split(NEXT_REQUEST, turn.message.strip()):
        rule, (before, text) = _rule(part), found[-1] if found else ("", "")
        why = reason(part) if rule in MAY_BE_REASONS else ""
        if rule is _give_back and before in MAY_BE_REASONS and reason(text):
            found[-1] = (rule, because(part, reason(text)))
        elif why and before is _give_back:
            found[-1] = (before, because(text, why))
        elif why and asked:
            found.append((_give_back, because(f"return {asked[0]}", why)))
        elif rule in NAMES and "?" not in part and (which or (asked and typed_order(part))):
            found.append((_give_back, because(f"return {part}", reason(earlier))))
        elif asked and rule in (_no_rule, CARRY_ON):
            found.append((_give_back, f"return {asked[0]}"))
        elif before and (rule is _no_rule or before in (rule, OTHERS)) and re.search(PRONOUN, part):
            found[-1] = (before, f"{text} {part}")
        else:
            found.append((rule, re.sub(r"(?i)^(and|also|then)\s+", "", part)))
    # Beside a request, a greeting or a sentence that asks nothing needs no answer.
    talk = [f for f in found if f[0] in SMALL_TALK or (f[0] is _no_rule and "?" not in f[1])]
    return [f for f in found if f not in talk] or found[-1:]


def _rule(request: str) -> Rule | str:
    text = _spelled(request)
    return next(rule for pattern, rule in RULES if re.search(pattern, text))


@functools.lru_cache(maxsize=100)
def _spelled(text: str) -> str:
    """`Dont retrun` -> `don't return`: a word that is nearly one of the table's becomes it."""

    def near(word: re.Match[str]) -> str:
        if word[0] in SMALL_WORDS or word[0].startswith(VOCABULARY):
            return word[0]
        close = difflib.get_close_matches(word[0], VOCABULARY, n=1, cutoff=0.83)
        return close[0] if close else word[0]

    return re.sub(r"[a-z]{4,14}", near, with_apostrophes(text[:1000].lower()))


def _nouns(text: str) -> list[str]:
    """The words of `text` that may name an item."""
    return _stems(re.sub(TYPED_ORDER, " ", _spelled(text)), SMALL_WORDS)


def _naming(lines: list[str], nouns: list[str]) -> list[str]:
    """The lines that name most of `nouns`, typos forgiven; none if none is named."""

    def hits(line: str) -> int:
        known = re.findall(r"[\w-]{3,}", line.lower())
        return sum(bool(difflib.get_close_matches(noun, known, n=1, cutoff=0.8)) for noun in nouns)

    most = max(map(hits, lines), default=0)
    return [line for line in lines if most and hits(line) == most]


# Orders

PLACES = {"first": 0, "second": 1, "last": 0, "latest": 0, "newest": 0}  # in a list, newest first


def _order(turn: Turn, request: str) -> str:
    text = _spelled(request)
    waiting = re.search("where|when|track|arriv|waiting|way|lost|late", text)
    numbers, listed = _meant(turn, request, "processing|shipped" if waiting else "")
    if len(numbers) == 1:
        return _explained(turn.use("get_order", order_id=numbers[0]), text)
    return f"Your orders:\n\n{listed}" if numbers else listed


def _meant(turn: Turn, request: str, likely: str) -> tuple[list[str], str]:
    """The numbers of the orders that may be meant, and these orders as a Markdown list.

    Of several, the only one whose status is a `likely` one is taken to be meant.
    """
    text, nouns = _spelled(request), _nouns(request)
    points_back = re.search(PRONOUN, text)
    if number := typed_order(request) or (points_back and typed_order(turn.message)):
        return [number], ""
    spoken_of = turn.subject if turn.subject.startswith("ORD") else ""
    every = re.search(r"\b(all|both|every\w*)\b", text)
    anew = every or re.search(r"\b(other|orders|my (\w+ )?(order|stuff|package|parcel))\b", text)
    if spoken_of and not (nouns or anew):
        return [spoken_of], ""
    output = turn.use("list_orders")
    lines = [line for line in output.splitlines() if re.match(ORDER, line)]
    named = _naming(lines, nouns)
    if spoken_of and points_back and not (named or anew):
        return [spoken_of], ""
    places = [at for word, at in PLACES.items() if re.search(rf"\b{word}\b", text)]
    if named := named or _naming(lines, _nouns(turn.message)):
        lines = named
    elif places:
        lines = lines[places[0] :][:1]
    fitting = [line for line in lines if likely and re.match(rf"\S+ ({likely}),", line)]
    lines = fitting if len(fitting) == 1 and not every else lines
    return [line.partition(":")[0] for line in lines], _bullets(lines) or output


def _explained(order: str, question: str) -> str:
    """An order in a few sentences; if get_order found none, what it said instead."""
    fields = dict(line.split(": ", 1) for line in order.splitlines() if ": " in line)
    number = re.search(ORDER, order)
    if number is None or "Status" not in fields:
        return order
    items = re.findall(r"(?m)^Item: (.+)", order)
    names = ", ".join(re.sub(r"^1 x | \(.*", "", item) for item in items)
    days = re.findall(r"(?m)^([A-Z][a-z ]+): (\d+ \w+ \d{4})$", order)
    story = ", ".join(f"{name.lower()} on {day}" for name, day in days)
    text = f"Order **{number[0]}** ({names}) is **{fields['Status']}**: "
    text += f"{story.replace('processing', 'placed', 1)}. Tracking: {fields.get('Tracking')}."
    if "Return reason" in fields:
        text += f" Reason: {fields['Return reason']}. Refund: {fields.get('Estimated refund')}."
    if fields["Status"] == "shipped" and re.search("when|arriv|how long", question):
        text += " It does not say on which day it will arrive."
    if re.search(r"cost|total|much|pa(y|id)|spen|item|what.*(\bin\b|buy|bought)", question):
        text += "\n\n" + _bullets([*items, f"Total: {fields.get('Total')}"])
    return text


# Returns


def _give_back(turn: Turn, request: str) -> str:
    numbers, listed = _meant(turn, without_reason(request), "delivered")
    if len(numbers) != 1:
        rule = "Only a delivered order can be returned, one order at a time."
        return f"{listed}\n\n{rule} {ASK_ORDER}" if numbers else listed
    order = turn.use("get_order", order_id=numbers[0])
    if "Status: delivered" not in order:
        early = "Only a delivered order can be returned." if "Status: " in order else ""
        made = "It has a return already." if "Return reason: " in order else ""
        return f"{_explained(order, '')} {made or early}".rstrip()
    told, closed = _window(turn, order)
    if closed:
        return told
    if why := reason(request):
        output = turn.use("initiate_return", order_id=numbers[0], reason=why)
        if re.match(r"(?i)(?!Return initiated).*(approv|declin|reject|denied|said no)", output):
            return f"Order {numbers[0]} stays as it is: without your yes, nothing was returned."
        return output  # word for word, a refusal as well
    if turn.said.endswith(ASK_REASON) and turn.subject == numbers[0]:  # asked once already
        hint = 'needs a reason, such as "it is too heavy". Or say "never mind".'
        return f"A return of {numbers[0]} {hint} {ASK_REASON}"
    return f"{_explained(order, 'total')}\n\n{ASK_REASON}"


def _window(turn: Turn, order: str) -> tuple[str, bool]:
    """Until when a delivered order can be returned, in words, and whether that day is over."""
    date = r"(\d+ \w{3} \d{4})"
    days = re.search(r"within (\d+) days", turn.instructions)
    today = re.search(f"Today is {date}", turn.instructions)
    delivered, number = re.search(f"Delivered: {date}", order), re.search(ORDER, order)
    if not (days and today and delivered and number):
        return "", False
    last = datetime.strptime(delivered[1], "%d %b %Y") + timedelta(days=int(days[1]))
    until = f"{last.day} {last:%b %Y}"
    told = f"Order **{number[0]}** was delivered on {delivered[1]}"
    if last < datetime.strptime(today[1], "%d %b %Y"):
        return f"{told} and cannot be returned: the {days[1]}-day window closed on {until}.", True
    return f"{told} and can be returned until {until}.", False


def _deadline(turn: Turn, request: str) -> str:
    numbers, _ = _meant(turn, request, "delivered")
    if len(numbers) != 1:
        return _help_article(turn, request)
    order = turn.use("get_order", order_id=numbers[0])
    told, _ = _window(turn, order)
    return told if "Status: delivered" in order and told else _give_back(turn, request)


def _returns_made(turn: Turn, request: str) -> str:
    """The returns that there are, with when the money comes."""
    made = re.findall(rf"(?m)^({ORDER}): return initiated", turn.use("list_orders"))
    if not made:
        return "None of your orders has a return."
    orders = [turn.use("get_order", order_id=number) for number in made[:MAX_REQUESTS]]
    time = re.findall(r"It goes to the original[^.]*\.", turn.instructions)
    return "\n\n".join([*(_explained(order, "") for order in orders), *time])


def _cancel(turn: Turn, request: str) -> str:
    """A return that is only spoken of, one that is made, or an order."""
    if turn.said.endswith((ASK_REASON, ASK_ORDER)) and not typed_order(request):
        return KEEP
    if not re.search("return|refund", _spelled(request)):
        return IMPOSSIBLE
    return f"A return that is made cannot be undone here. {_returns_made(turn, request)} {WRITE}"


# Products and policies

# A question, and the words of the sentences that answer it.
HINTS = (
    (r"\bwhen\b|how (long|fast|soon|many days)|time", "day month"),
    (r"how much|cost|pays? for", "cost"),
    (r"how (do|can|to)\b|start", "start open write"),
    (r"human|person|someone|talk|speak|phone|\bcall", "person call"),
    (r"hours|open|day\b|weekend", "monday business"),
    (r"\b(ship|deliver)", "ship"),
    (r"\bpay\b", "card"),
    (r"broke|damag|defect|faulty|work", "repair"),
    (r"water|liquid|spil|drop|accident|cover", "cover"),
    (r"another|other|card|account", "method"),
)


def _help_article(turn: Turn, request: str) -> str:
    """The title of the best article, with its sentences that answer, or else its first three."""
    text = _spelled(request)
    text += " returns refunds" if re.search("return|refund|money|back", text) else ""
    articles = turn.use("search_knowledge_base", query=" ".join(text.split()[:20])).split("\n\n")
    title, _, body = articles[0].partition("\n")
    asked = set(_stems(text, SMALL_WORDS))
    hints = {word for pattern, words in HINTS if re.search(pattern, text) for word in words.split()}

    def score(sentence: str, words: set[str]) -> int:
        known = _stems(sentence)
        return sum(2 if w in known else any(k.startswith(w[:5]) for k in known) for w in words)

    if not body or not score(articles[0], asked | hints):  # found by a word that says nothing
        return _unknown(turn, request)
    sentences = re.split(r"(?<=[.!?])\s+(?=[A-Z])", body)
    scores = [score(sentence, asked - set(_stems(title)) | hints) for sentence in sentences]
    best = [s for s, n in zip(sentences, scores, strict=True) if 2 * n > max(scores)]
    return f"**{title}**: {' '.join((best or sentences)[:3])}"


def _stems(text: str, but: frozenset[str] = frozenset()) -> list[str]:
    words = re.findall(r"[^\W_]{2,}(?:'\w+)?", text.lower())
    return [word.removesuffix("s") for word in words if word not in but]


PRICED = rf"(?m)^.*{SKU}.*$"


def _product(turn: Turn, request: str) -> str:
    nouns = _nouns(request)
    if re.search(CATALOG, _spelled(request)):
        nouns = [] if "cheap" in request else nouns
    elif not nouns and turn.subject.startswith("ORD"):
        return _order(turn, request)
    elif not nouns and turn.subject:
        return _product_card(turn, turn.subject)
    found = re.findall(PRICED, turn.use("search_products", query=" ".join(nouns[:6])))
    if not found:  # a typo, or a word too many: look through all products
        products = re.findall(PRICED, turn.use("search_products", query=""))
        found = _naming(products, nouns)
        if not found:
            return f"I find no such product. These are the ones I see:\n\n{_bullets(products)}"
    # "The laptop" is the Aero 14 Laptop, not the Felt Laptop Sleeve.
    called = [line for line in found if _naming([line.partition(" (")[0].split()[-1]], nouns)]
    found = called if len(called) == 1 else found
    one = len(found) == 1
    return _product_card(turn, re.findall(SKU, found[0])[0]) if one else _bullets(found)


def _product_card(turn: Turn, sku: str) -> str:
    card = turn.use("get_product", sku=sku)
    return re.sub(r"^([^(\n]+) \(", r"**\1** (", card).replace("\n", ". ", 1)


def _bullets(lines: list[str]) -> str:
    """A Markdown list, with the name before the first bracket or colon in bold."""
    return "\n".join(re.sub(r"^([^:(]+)( \(|:)", r"- **\1**\2", line) for line in lines)


# Everybody


def _recall(turn: Turn, request: str) -> str:
    if not turn.earlier:
        return "This is your first message in this conversation."
    return "\n- ".join(["Your last messages before this one:\n", *turn.earlier[-3:]])


def _who_am_i(turn: Turn, request: str) -> str:
    found = re.search(r"customer is ([^,\n]+), tier (\w+)", turn.instructions)
    told = f"You are signed in as **{found[1]}**, tier **{found[2]}**." if found else ""
    return told or _unknown(turn, request)


def _greet(turn: Turn, request: str) -> str:
    return turn.once(f"Hello! {SKILLS}", "Hello! How can I help?")


def _unknown(turn: Turn, request: str) -> str:
    return f"I do not know that. {WRITE} {turn.once(NOTE, '')}".rstrip()


def _no_rule(turn: Turn, request: str) -> str:
    """`and the lamp?` is about what this agent does; everything else is for triage to answer."""
    more = r"(?i)\W*(ok\W+)?((and|or|what about|how about)\b|(the|my) \S+( \S+)?$)"
    goes_on = re.match(more, request)
    if goes_on and "get_product" in turn.offered:
        return _product(turn, request)
    if goes_on and "get_order" in turn.offered:
        return _order(turn, request)
    turn.hand_off("transfer_to_triage")
    only = "I only help with this shop's orders, products and policies."
    return f"{only}\n\n{turn.once(SKILLS, '')}".rstrip()


NOTE = (
    "I am a rule-based stand-in and understand simple English only; with OPENAI_API_KEY set, a "
    "real model answers here."
)
SKILLS = (
    "I can look up and track your orders, return one, and answer questions on products, shipping, "
    "payment, warranty and the loyalty program. For example:\n\n- where is my order?\n"
    "- I want to return my last order, not powerful enough\n- how much is express shipping?\n\n"
) + NOTE
WRITE = "Please write to support@example.com."
THANKS = "You are welcome. I am here when you need anything else."
CARRY_ON = "All right. I am here when you need anything else."
GOODBYE = "Goodbye, and come back any time."
KEEP = "All right, everything stays as it is."
WHOLE = "Only a whole order can be returned. For that, tell me its number and the reason."
IMPOSSIBLE = (
    "An order cannot be cancelled, exchanged or sent to another address here. What you can do: "
    "once it is delivered, return it in this chat. For all else, write to support@example.com."
)
OTHERS = "I see the orders of the account that is signed in, and no others. Ask me for yours."
CATALOG = r"product|catalog|\b(sell|recommend|anything|cheap\w*)\b|\b(do|what).* have\b"
SMALL_WORDS = frozenset(
    "about again all already also am and another any anything are arrive arrived at available back "
    "be been big both bought bring but buy by can card carry catalog cheap cheapest cost costs "
    "could deliver delivered delivery did didn't do does doing don't enough every everything far "
    "find first for from get give got had has hasn't have haven't hello help here hey hi how i'd "
    "i'm if in into is isn't it it's its just know last latest let like list long look looking "
    "many me mean more much my need new newest no not now number of offer ok on one only or order "
    "ordered orders other our package packages paid parcel parcels pay please pls price prices "
    "product products recent recommend refund return second sell send ship shipped show so some "
    "something sorry spend spent start status still stock stuff take tell than that the their them "
    "then there these they thing things this time to today too track tracking under until up us "
    "used using want was way we well were what what's when where where's which who why will with "
    "would yes yet you your".split()
)

# What a message is about, and the rule or the text that answers it: the first row that fits.
Rule = Callable[[Turn, str], str]
RULES: list[tuple[str, Rule | str]] = [
    # This conversation and this customer
    (r"remember|(did|have) (i|we) (ask|say|said|talk|discuss)|(last|previous) message", _recall),
    (r"who am i|know about me|my (name|tier|level)\b|(what|which) tier"
     r"|\b(my|i am|i'm)\b.*@|^\S+@\S+$", _who_am_i),
    # What is not wanted, or not possible
    (r"\bundo\b|\brevert|withdraw|(?<!noise )cancel", _cancel),
    (r"never ?mind|forget (it|that)|keep (it|them|that)|(n't|not) (want to )?(return|send|refund)"
     r"|not (that|this) one|no need|^\W*(no|nope|stop|wait|no,? (thanks?( you)?|wait))\W*$", KEEP),
    (r"chang.*(?<!mail )addres|different addres|exchang|swap|replace", IMPOSSIBLE),
    (r"^(?!.*\d{4}).*(everyone|(other|all) customer|someone else|\badmin\b|[a-z]'s orders?\b"
     r"|\b(?!whats|wheres|previous)\w+s orders\b|(friend|wife|husband)\b.*order)", OTHERS),
    # Returns: first the questions, last the wish
    (r"(just|only) (one|1|half|part) of|one of (them|these|the two)\W*$|keep the (rest|other)"
     r"|(return|send|refund|back)\b.*(just|only) (one|1|the|a|my|half|part)\b"
     r"|(just|only) (return|send|refund) (one|1|the|a|half|part)\b", WHOLE),
    (r"^(?=.*(return|refund|send.* back))(?=.*(\d{4}|\b(it|my|the|them|this) (?!refund)))"
     r".*(until when|too late|how (long|many)|deadline|last day|\bstill\b|be returned)", _deadline),
    (r"(refund|return) status|status of .*(refund|return)|where.*(refund|return|money)"
     r"|\b(open|any|my|pending) (returns?|refunds?)\b"
     r"|\b(i|we|have|already|was|is|got) returned", _returns_made),
    (r"^(?!.*\d{4})(.*(, |\b(me|know|so|and|but) ))?(how|why|when|what|who|which|do|does|am|is|are"
     r"|will)\b.*(return|refund|money|send.* back|get back)|(get|have) .*money (on|to)"
     r"|return (policy|window|period|time|take|ship\w*)|^\W*returns\W*$", _help_article),
    (r"policy|policies|warranty|guarantee|shipping|express|international|abroad|overseas"
     r"|(do|can) (you|u) (ship|deliver)|(how|what|free).*deliver\w* (take|cost)", _help_article),
    (r"\breturn(?!ed\b)|refund|(send|give|take|bring)\b.*\bback\b|money back", _give_back),
    # Policies
    (r"broke|defect|damage|faulty|(not|n't|stopped) work|wrong item|repair|payment|paypal|invoice"
     r"|pay (by|in|with)|(how|can|do) .*\bpay\b(?! for)|\bcard\b|instal|(i|be|am|get) charged"
     r"|loyalty|points|bonus|platinum|\bgold\b|password|e-?mail|contact|phone number|\bcall\b|human"
     r"|manager|speak (to|with)|person|someone|opening|\bopen\b|hours|my account|discount|coupon"
     r"|voucher|price match|gift card", _help_article),
    # Orders
    (r"\bord-?\d|order|track|parcel|package|deliver|shipped|\bship\b|arriv|status|waiting|my stuff"
     r"|(where|when)\b.*\b(my|is|are|get|come)\b|\bi (bought|paid|spen)|did i (buy|pay|spend)"
     r"|never (got|came)|(n't|not) (here|there|come|got)|^\W*\d{4}\W*$", _order),
    # Products
    (r"price|cost|how (much|many|big|heavy|large|loud)|stock|availab|(you|got) (have|any|carry)"
     r"|\bbuy\b|looking for|(tell|know).*\babout|more about|descri|batter|weigh|colou?r|memory"
     r"|storage|screen|bluetooth|wireless|\busb|dimm|\bfit\b|compatib"
     rf"|^\W*(and |so )?(is|are|does|has|can) (the|your|it|this)\b|{CATALOG}", _product),
    # Small talk
    (r"\b(good)?bye\b|good ?night|see (you|ya)\b|that('s| is) all\b", GOODBYE),
    (r"thank|\bthx|cheers", THANKS),
    (r"^\W*(ok(ay)?|great|cool|fine|good|perfect|yes|yep|hm+|one (sec|mom).*)\W*$", CARRY_ON),
    (r"^\W*(hi|hello|hey|hiya|good (morning|afternoon|evening|day)|help)\b|how does this work"
     r"|(what|who) (can|are) you|are you an?\b", _greet),
    (r"", _no_rule),
]  # fmt: skip
SMALL_TALK = (GOODBYE, THANKS, CARRY_ON, _greet)
NAMES = (_no_rule, _order, _product)  # what the name of an order may look like to the table
MAY_BE_REASONS = (*NAMES, _help_article, THANKS)  # and what a reason may
VOCABULARY = tuple(
    {word for row in RULES for word in re.findall("[a-z]{5,}", re.sub(r"\\.", " ", row[0]))}
)

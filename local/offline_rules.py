"""What the rule-based model understands and says: RULES, at the end, is the table of it."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches

from local.offline_turn import ORDER, SKU, Instead, Turn, Wanted

MAX_REQUESTS = 2  # in one message: each may take a handoff, and the runner counts max_turns
ASK_REASON = "Why would you like to return it?"
ASK_ORDER = "Which order would you like to return?"


def answer(turn: Turn) -> str:
    """The answer to the customer's last message. Raises Wanted if a tool is needed first."""
    again = _open_return(turn)
    if again and re.search(YES, _spelled(turn.message)):
        turn = replace(turn, message=again)
    elif ":" in again and _is_told(turn.message) and not re.search(ELSEWHERE, turn.message):
        why = f"{again.partition(':')[0]}: {_sentence(turn.message)}"
        return f'To return it for that reason, say "{why}".'
    answers: list[str] = []
    requests = _requests(turn)
    for number, (rule, request) in enumerate(requests, 1):
        if number > MAX_REQUESTS:
            rule = f"One thing after the other. Please ask this next: {request}"
        try:
            answers.append(rule if isinstance(rule, str) else rule(turn, request))
        except Instead as instead:
            answers.append(str(instead) or UNKNOWN)
    text = "\n\n".join(dict.fromkeys(answers))
    for known in (SKILLS, NOTE):  # say each once in a conversation
        if known in "\n".join(turn.spoken):
            text = text.replace(known, "").rstrip() or text
    repeats = turn.message in turn.earlier[-1:] or _is_told(turn.message)
    if repeats and "**" in text and turn.spoken[-1].startswith(text):
        return f"I do not know more than that. {WRITE}"
    # After talk of the return, the way back to it stays in sight; after all else it is said once.
    told_before = 'say "' in turn.spoken[-1] and any(rule not in OF_RETURNS for rule, _ in requests)
    done = r'say "return|Return initiated|already|cannot be returned|\?$'
    if not again or told_before or re.search(done, text):
        return text
    return f'{text}\n\nTo return it after all, say "{again}".'


def _open_return(turn: Turn) -> str:
    """What asks for the return again, if this message came in place of a reason or of a yes."""
    if hints := re.findall(r'say "(return[^"]+)"', turn.spoken[-1]):
        return str(hints[-1])
    if turn.spoken[-1].endswith(ASK_REASON):
        return f"return {turn.subject}"
    *earlier, message = turn.earlier or [""]
    if not message or turn.spoken[-1] != message:
        return ""
    before = replace(turn, message=message, earlier=earlier, spoken=turn.spoken[:-1])
    try:  # the same rules, so the message that was left without an answer leads to the same call
        return answer(replace(before, done=turn.done_before, offered=["initiate_return"])) and ""
    except Wanted as wanted:
        call = json.loads(wanted.args[1])
        return f"return {call['order_id']}: {call['reason']}"


TYPED_ORDER = r"(?i)(?:\b(?:ord|order|return|refund|track|of)\W*(?:n\w+)?\W*|#|^\W*)(\d{4,10})\b"
PRONOUN = r"(?i)\b(it|its|it's|this|that|them|they)\b"
# A new sentence, or "and" before a word that opens a request: "slow and heavy" stays one.
NEXT_REQUEST = (
    r"(?i)(?<=[.?!])\s+|\n+|,\s+(?=(?:wh(?:at|ere|en|o|y)'?s?|how|can|i'd|i want)\b)"
    r"|,?\s+(?:and|n|also|then)\s+(?=(?:also|please|wh(?:at|ere|en|o|y)'?s?|how|do|does|can|could"
    r"|is|are|tell|show|list|return|refund|track|send|my|i|i'd)\b)"
)


def _requests(turn: Turn) -> list[tuple[Rule | str, str]]:
    """What the message asks for: the rules that answer it, each with its part of the message."""
    parts = re.split(NEXT_REQUEST, turn.message.strip())
    found = [(_rule(part), part) for part in parts]
    told = [part for part in parts if _is_told(part)]
    asked = [f for f in found if f[1] not in told]
    if turn.spoken[-1].endswith(ASK_REASON) and _give_back not in dict(asked):
        if re.search(PICKS, _spelled(turn.message)):
            return [(f"Orders go back whole.\n\n{ASK_REASON}", turn.message)]
        asked = [f for f in asked if f[0] not in (CARRY_ON, NOTHING_WAITS, _no_rule)]
        asked = [(_give_back, f"return {turn.subject}")] * bool(told or not asked) + asked
    elif turn.spoken[-1].endswith(ASK_ORDER) and told:
        asked = [(_give_back, f"return {told[0]}"), *asked]
    if _give_back in dict(asked):
        # What is told beside it is the reason. The customer reads it before the yes.
        why = turn.message if len(told) == len(parts) else " ".join(told)
        give_back = functools.partial(_give_back, why=_sentence(why))
        asked = [f for f in asked if f[0] not in (*SMALL_TALK, _no_rule)]
        # Last: its answer may be our question, and the next message is the answer to that.
        asked.sort(key=lambda f: f[0] is _give_back)
        return [(give_back if rule is _give_back else rule, text) for rule, text in asked]
    # Beside a request, small talk, a statement and "how fast is it" need no answer of their own.
    vague = [part for part in parts if _is_told(part) or re.search(PRONOUN, part)]
    talk = [f for f in found if f[0] in SMALL_TALK or (f[0] is _no_rule and f[1] in vague)]
    return [f for f in found if f not in talk] or found[-1:]


def _rule(text: str) -> Rule | str:
    """The first row of the table that fits."""
    return next(rule for pattern, rule in RULES if re.search(pattern, _spelled(text)))


def _is_told(text: str) -> bool:
    """Whether `text` is neither a question nor a request, so that it may be a reason."""
    return _rule(text) in TOPICS and not re.search(ASKS, _spelled(text))


def typed_orders(text: str) -> list[str]:
    return list(dict.fromkeys(f"ORD-{number}" for number in re.findall(TYPED_ORDER, text)))


@functools.lru_cache
def _spelled(text: str) -> str:
    """`Dont retrun` -> `don't return`: a word that is nearly one of KEYS becomes it."""
    negation = r"\b(do|does|dos|did|is|was|wo|ca|has|have|are|could|would)nt\b"
    text = re.sub(negation, r"\1n't", text[:1000].lower())
    return re.sub(r"[a-z]{4,14}", lambda w: (get_close_matches(w[0], KEYS, 1, 0.83) or w)[0], text)


def _nouns(text: str) -> list[str]:
    """The words of `text` that may name an item."""
    words = re.findall(r"\b[a-z]{4,}\b(?!')", _spelled(text))
    return [word.removesuffix("s") for word in words if not word.startswith(tuple(SMALL_WORDS))]


def _naming(lines: list[str], nouns: list[str]) -> list[str]:
    """The lines that name the most of `nouns`, typos forgiven. None, if no line names one."""
    known = [re.findall(r"[\w-]{3,}", line.lower()) for line in lines]
    hits = [sum(bool(get_close_matches(n, words, 1, 0.8)) for n in nouns) for words in known]
    return [line for line, hit in zip(lines, hits, strict=True) if hit and hit == max(hits)]


CLAUSE_END = (
    r"(?i)[,;:!\n]+|[.?](?:\s|$)|\s[-\u2013\u2014]+\s|\s(?:but|because|becuase|bc|since|due to)\s"
    r"|\s(?:and |so )*(?=i want\b|i wanna\b|i'?d like\b|can i\b|(?:it|they)(?:'?s|'?re| is| are"
    r"| was| were| does| do| keeps)\b)|$"
)
NO_REASON = r"(?i)^\W*((and|ord-\d+|because|bc|since|of|reason|please|pls|sorry|hi|hello)\b\W*)+"


def _wish(text: str) -> tuple[str, str]:
    """A wish to return, and its reason: what is told after it, else before it; may be empty."""
    text = re.sub(rf"{TYPED_ORDER}(?= \w)", r"\g<0>,", text[:500])
    start = 0
    for end in re.finditer(CLAUSE_END, text):
        if _rule(wish := text[start : end.start()]) is _give_back:
            told = [_sentence(part) for part in (text[end.end() :], text[:start])]
            return wish, next((why for why in told if why and _is_told(why)), "")
        start = end.end()
    return text, ""


def _sentence(text: str) -> str:
    text = re.sub(r"[\s.,!]+$", "", re.sub(NO_REASON, "", text.strip(" ,.:;")))
    return text[:1].upper() + text[1:]


def _order(turn: Turn, request: str) -> str:
    waiting = r"where|when|track|arriv|wait|way|lost|late|\b(by|before|get)\b"
    likely = "processing|shipped" if re.search(waiting, _spelled(request)) else ""
    told = _explained(turn, _meant(turn, request, likely))
    return re.sub(r"\n- \*\*Return\*\*: Order.*", "", told)


def _meant(turn: Turn, request: str, likely: str, ask: str = "") -> str:
    """The order that is meant, or the only `likely` one. Else raises Instead with a list."""
    text, nouns = _spelled(request), _nouns(request)
    points_back = re.search(PRONOUN, text)
    if typed := typed_orders(request) or (typed_orders(turn.message) if points_back else []):
        return typed[0]
    spoken_of = turn.subject if turn.subject.startswith("ORD") else ""
    every = re.search(r"\b(all|both|every\w*|(?<!one of my )orders)\b", text)
    anew = every or re.search(r"\b(other|my (\w+ )?(order|stuff|package|parcel))\b", text)
    if spoken_of and not (nouns or anew):
        return spoken_of
    output = turn.use("list_orders")
    lines = re.findall(rf"(?m)^{ORDER}.*", output)
    named = _naming(lines, nouns)
    if spoken_of and points_back and not (named or anew):
        return spoken_of
    lines = named or _naming(lines, _nouns(turn.message)) or lines
    fitting = [line for line in lines if likely and re.match(rf"\S+ ({likely}),", line)]
    # "The headphones", if no order has any: say what there is, and pick nothing.
    item = re.search(rf"\b(the|my|these|those) (?!{'|'.join(SMALL_WORDS)})[a-z]{{4}}", text)
    if re.search(r"\b(last|latest|newest)\b", text):
        lines = (fitting if "delivered" in text else lines)[:1]
    elif len(fitting) == 1 and not every and (named or not item):
        lines = fitting
    if len(lines) != 1:
        listed = f"The orders of your account:\n\n{_bullets(lines)}\n\n{ask}".rstrip()
        raise Instead(listed if lines else output)
    return lines[0].partition(":")[0]


def _explained(turn: Turn, number: str) -> str:
    """An order as get_order tells it, or what that says instead."""
    order, *facts = turn.use("get_order", order_id=number).splitlines()
    late = "\n\nIt does not say on which day it will arrive." * ("Status: shipped" in facts)
    told = f"**{order}**\n\n{_bullets(facts).replace('Processing', 'Placed', 1)}{late}"
    return told if facts else order


def _give_back(turn: Turn, request: str, why: str = "") -> str:
    wish, reason = _wish(request)
    earlier = "".join(turn.earlier[-1:]) if turn.spoken[-1].endswith(ASK_ORDER) else ""
    why = reason or why or _wish(earlier)[1]
    if len(typed := typed_orders(request)) > 1:
        each = [_terms(turn, number, why) for number in typed[:3]]
        return "\n\n".join([*each, "One order after the other, please."])
    number = _meant(turn, wish, "delivered", f"One order at a time. {ASK_ORDER}")
    told = _explained(turn, number)
    if "possible until" not in told:
        return f"It has a return already.\n\n{told}" if "Return reason" in told else told
    if not why:
        once = f'A return of {number} needs a reason, such as "too heavy".'
        return f"{once if turn.spoken[-1].endswith(ASK_REASON) else told}\n\n{ASK_REASON}"
    output = turn.use("initiate_return", order_id=number, reason=why)
    if re.match(r"(?!Return initiated).*(not approved|said no)", output):
        # The program itself says that nothing was returned.
        return f'All right. If you change your mind, say "return {number}: {why}".'
    return output  # word for word, a refusal as well


def _terms(turn: Turn, request: str, why: str = "") -> str:
    """What a return would bring, and what to say for it."""
    told = _explained(turn, number := _meant(turn, request, "delivered"))
    again = _open_return(turn)
    again = again if number in again else f"return {number}{': ' * bool(why)}{why}"
    how = f'Orders are returned whole. To return this one, say "{again}".'
    return f"{told}\n\n{how}" if "possible until" in told else told


def _totals(turn: Turn, request: str) -> str:
    """What all orders cost together, or what the one cost that is meant."""
    every = re.search(r"total|altogether|so far|with you|have i|all my", request.lower())
    if not every and (_nouns(request) or typed_orders(request) or turn.subject.startswith("ORD")):
        return _order(turn, request)
    lines = re.findall(rf"(?m)^{ORDER}.*", output := turn.use("list_orders"))
    cents = sum(int(re.sub(r"\D", "", line.rpartition("$")[2])) for line in lines)
    return f"{_bullets(lines)}\n\nAll together: ${cents / 100:,.2f}." if lines else output


def _returns_made(turn: Turn, request: str) -> str:
    """The returns that were made, and where the money goes."""
    made = re.findall(rf"(?m)^({ORDER}): return initiated", turn.use("list_orders"))
    told = [_explained(turn, n) for n in made[:3]] or ["None of your orders has a return."]
    paid_back = re.findall(r"refund.*\. It goes( to the original[^.]*\.)", turn.instructions)
    return "\n\n".join([*told, f"A refund goes{''.join(paid_back)}"])


def _help_article(turn: Turn, request: str, telling: bool = True) -> str:
    """An article may know it, by a `telling` word or by two others. Else Triage answers."""
    found = turn.use("search_knowledge_base", query=_spelled(request))
    title, _, body = found.split("\n\n")[0].partition("\n")
    stems = {noun[:6] for noun in _nouns(request)}
    if not telling and sum(stem in body.lower() for stem in stems) < 2:
        body = body * any(stem in title.lower() for stem in stems)
    if not body and re.search(PRONOUN, request) and re.match(SKU, turn.subject):
        return _product(turn, request)
    if not body:
        turn.hand_off("transfer_to_triage")
    return f"**{title}**: {body}" if body else f"{UNKNOWN} {SKILLS}"


def _product(turn: Turn, request: str) -> str:
    text = _spelled(request)
    nouns = [] if re.search("cheap|expensive", text) else _nouns(request)
    points_back = re.search(PRONOUN, text)
    of_all = re.search("product|sell|anything|you have|compare|cheap|expensive|recommend", text)
    subject = turn.subject if points_back or not (nouns or of_all) else ""
    if subject.startswith("ORD") and not nouns:
        return _order(turn, request)
    lines = re.findall(rf"(?m)^.*{SKU}.*$", turn.use("search_products", query=""))
    found = _naming(lines, nouns) or [line for line in lines if subject and subject in line]
    # "The laptop" is the Aero 14 Laptop, not the Felt Laptop Sleeve.
    heads = [line for line in found if _naming([line.partition(" (")[0].split()[-1]], nouns)]
    found = heads or found
    bound = re.search(r"(under|below|less than|up to)\W*([\d,]{2,})", text)
    if bound or len(found) != 1:
        return _choice(found, lines, text, bound)
    card = turn.use("get_product", sku=re.findall(SKU, found[0])[0])
    told = re.sub(r"^([^(\n]+) \(", r"**\1** (", card).replace("\n", ". ", 1)
    colour = re.findall(r" in (?!stock)([a-z]+)\W*$", text)
    if (points_back or colour) and not all(_naming([card], [word]) for word in nouns + colour):
        return f"I do not know that about the {card.partition(' (')[0]}. {WRITE}\n\n{told}"
    if "out of stock" in card:
        return f"{told}\n\nI do not know when it is in stock again. {WRITE}"
    return told


def _choice(found: list[str], lines: list[str], text: str, bound: re.Match[str] | None) -> str:
    """Several products, by their price; `found` are those that the customer named, if any."""
    price = {line: float(re.sub(r".*\$|, \d+ in.*|, out.*|,", "", line)) for line in lines}
    lines = sorted(found or lines, key=lambda line: price[line])
    if bound:
        fitting = [line for line in lines if price[line] <= float(bound[2].replace(",", ""))]
        told = f"{'These are' if fitting else 'None of these is'} {bound[1]} ${bound[2]}"
        lines = fitting or lines
    elif found:
        return _bullets(lines)
    elif re.search(PRONOUN, text):
        told = "I do not know which one you mean. Our products"
    elif _nouns(text) and re.search(r"\b(sell|have|any|carry|need|look|about|much|price)", text):
        told = "I find no such product. These are the ones I see"
    else:
        told = (
            "I have no favourite. Our products"
            if re.search("recommend|best|should", text)
            else "Our products"
        )
    return f"{told}, the cheapest first:\n\n{_bullets(lines)}"


def _bullets(lines: list[str]) -> str:
    """A Markdown list, with the name before the first bracket or colon in bold."""
    return "\n".join(re.sub(r"^([^:(]+)( \(|:)", r"- **\1**\2", line) for line in lines)


def _recall(turn: Turn, request: str) -> str:
    who = "".join(re.findall(r"customer is (.+)\. Today", turn.instructions))
    said = ["\n\nYour last messages:\n", *turn.earlier[-3:]] if turn.earlier else []
    return f"You are signed in as {who}." + "\n- ".join(said)


def _item(turn: Turn, request: str) -> str:
    return _order(turn, request) if "get_order" in turn.offered else _product(turn, request)


NOTE = "I am rule-based and know simple English. With OPENAI_API_KEY set, a real model answers."
SKILLS = (
    "I can look up, track and return your orders, and answer questions on products, shipping, "
    "payment, warranty and the loyalty program. For example:\n\n- where is my order?\n- what can I "
    f"return?\n- how much is express shipping?\n\n{NOTE}"
)
WRITE = "Please write to support@example.com."
UNKNOWN = f"I do not know that. {WRITE}"
SORRY = f"I am sorry about the trouble. Tell me what it is about, or talk to a person. {WRITE}"
FOREIGN = f"I know simple English only. {SKILLS}"
HELLO = f"Hello, how can I help? {SKILLS}"
THANKS = "You are welcome. I am here when you need anything else."
FINE = "All right."
NOTHING_WAITS = "Nothing waits for a yes. Tell me what I can do for you."
CARRY_ON = "All right. I am here when you need anything else."
GOODBYE = "Goodbye, and come back any time."
KEEP = "All right, I leave it at that."
NO_ADDRESS = f"I do not know where a return is sent to, who pays for that, or of a fee. {WRITE}"
IMPOSSIBLE = (
    "An order cannot be cancelled, exchanged or sent to another address, nor a return undone. "
    f"Once an order is delivered, you can return it in this chat. {WRITE}"
)
# What a typo is mended to, and the words that name no item, by how they begin.
KEYS = """address cancel delivered delivery invoice keyboard laptop order ordered
orders package policy price product refund return returned returns shipping taking
tracking warranty""".split()
SMALL_WORDS = """about actual also any arriv avail been below better bought buy cheap
come compar cost could deliver does dollar ever expensive from give have help here hour
just know last left like list long look many mean money more much need number offer
only order other package parcel please price product really recommend refund return
sell send ship show some status still stock take tell th time today track turn under
want were wh will with would your""".split()
YES = (
    r"^(\W*\b(y|yes|yep|yeah|yup|sure|ok(ay)?|fine|well|actually|please|let'?s|do|it|that|go|ahead"
    r"|proceed|now|then|so|after|all|alright|thing|why not)\b)+[^\w?]*$"
    r"|^(?!.*(n't|not|before|should)).*\b(do it|go ahead|proceed)( then| now| please)?[^\w?]*$"
)
ELSEWHERE = r"\d{4}|\bmy\b|never (got|came)|nothing here|n't (arriv|here|come|got)|thank|mind"
# Which part of an order: no reason, though it may come as the answer when one was asked for.
PICKS = (
    r"^(\W*\b(just|only|the|that|this|these|those|both|all|of|them|ones?|two|first|second|last|and"
    r"|my|other|lamps?|laptop|sleeve|keyboard|headphones?)\b)+\W*$"
)
# A question, or a sentence that asks for something; "is too loud" and "does not work" are neither.
ASKS = (
    r"\?|^\W*((and|so|but|ok|well|actually|please|pls|wait|also|or|n) )*((what|why|how|when|where"
    r"|who|which)('?s|'?re)?\b|(do|does|did|is|are|was|were|can|could|will|would|should|may|have"
    r"|has|am) (it|they|there|you|i|we|the|my|that|this)\b|(show|tell|give|let|keep|list|look|help"
    r"|talk|call|send|pretend|ignore|compare|u tell)\b)|\b(want to|wanna|like to|rather|i meant?)\b"
    r"|^\W*([a-z]{0,2}|idk|yes|okay|sure|h+m+|uhm?|dunno|e*h* ?i (dunno|don't know)|warranty"
    r"|shipping|payment|help)\W*$|\b(too|as well)\W*$"
)
# What a message is about, and the rule or the text that answers it. The first row that fits counts.
Rule = Callable[[Turn, str], str]
_no_rule: Rule = functools.partial(_help_article, telling=False)  # for what no other row knows
RULES: list[tuple[str, Rule | str]] = [
    (r"^return ord-\d+: ", _give_back),  # as our own hint says it, whatever the reason
    (r"\b(are|r) (you|u) (an? )?(real|human|bot|robot|ai|person|machine|chatbot)", NOTE),
    (r"remember|(did|have) (i|we) (ask|say|said|talk|discuss)|(last|previous) message|who am i"
     r"|about me\b|my (name|tier)\b|(what|which) tier|\b(my|i am|i'm)\b.*@", _recall),
    (r"[\u00bf\u00a1\u00df\u00e4\u00f6\u00fc\u00f1]|\b(hola|gracias|pedido|d[o\u00f3]nde|quiero"
     r"|devolver|por favor|ich|meine?|nicht|bestellung|danke|bitte|wo|wie|ist|das|und|cuando|puedo"
     r"|bonjour|merci|commande|je)\b", FOREIGN),
    (r"\b(?!(it|what|who|where|how|when|that|there|here|let|today|order)'s)\w{2,}'s ([a-z]+ "
     r")?(address|e-?mail|phone|orders?|account|password|tier|name|data)\b|\b(his|her|their) "
     r"(address|e-?mail|phone|orders?|account)\b|(other|all|every) (customer|people|user"
     r")", "I see only your own account."),
    # What is not wanted, or not possible
    (r"\b(delet|clos|remov|deactivat|cancel)\w*\b.*\b(account|profile|data)"
     r"\b", f"That cannot be done here. {WRITE}"),
    (r"\bi'?(ll| will) (take|buy) (?!.*back)|\b(want|wanna|like|love|can i|could i|how do i|how "
     r"can i) (to )?(buy|order|purchase)\b|(place|make) an? (new )?order|(in|to) my (cart|basket)"
     r"|check ?out|(like|want|need|take) (one|two|\d) (of|more|please"
     r")", f"I cannot take orders here. {WRITE}"),
    (r"never ?mind|forget (it|that)|keep (it|them|that)|(n't|not) (want to )?(return|send|refund)"
     r"|not (that|this) one|no need|not \w* ?sure|cancel (that|it)\W*$|\bleave it\b|maybe (later"
     r"|not|another)|(some|an)other (time|day)|(not|n't) (now|today|do (it|that))\W*$|^\W*(n|no"
     r"|nope|nah|stop|don't|no,? (thanks?( you)?|wait|not yet|later))\W*$", KEEP),
    (r"^\W*(no\W+)?(i )?((have|'ve|just) )*chang\w* my mind", FINE),
    (r"(?<!noise )cancel|undo|(chang|differ|wrong|new).*(?<!mail )addres|exchang|swap|replace"
     r"|revert|withdraw|\bmov(ed|ing)\b", IMPOSSIBLE),
    # A part of an order, what can be returned, until when, and for how much
    (r"(return|send|refund|take)\b(?!.*\d{4}).*\b(only|keep|just (one|the|a|my|half))\b|(return"
     r"|send|refund|take)\b.*\b(one|half|part|1) (?!of my ord)|keep (the|one|my)\b|(just|only"
     r"|keep)\b(?!.*\d{4}).*\b(return|send|refund)\b.* (one|half|part|and)\b|only (return|send)"
     r"|(just|only) (one|half|part) of|(what|which).*\b(can|could|may) (i|be) (return|sen[dt])"
     r"|(how much|get (all|every|it all)|what (would|will|do) i).*(\bget\b|back|refund|receive)"
     r"|what('s| is) (the|my) refund\W*$|(amount|size|much) .*refund|^(?=.*(return|send.* back))(?="
     r".*(\d{4}|\b(it|my|the|them|this) (?!re))).*(until|too late|how (long|many)|deadline|last "
     r"day|\bstill\b|be returned)", _terms),
    # Returns: first the questions, last the wish
    (r"where.*\bi (send|ship|bring|drop|return)|return (address|label)|\blabel\b|restock|postage"
     r"|^(?!.*(shipping|express|deliver)).*\b(fees?|charges|any charge)\b|(pay|free|cost|much).*(re"
     r"turn|send.*back)|return shipping", NO_ADDRESS),
    (r"(refund|return) status|where.*(refund|return|money)|\b(i|have|already|was) returned|did (i"
     r"|you) (return|refund)|did (it|that) work|\b(open|any|pending) (return|refund)s?\b|go(ne)? "
     r"through|(which|what|to|money|refund)[\w ]{1,20}\b(account|card)\b|\b(is|was) (it|my (return"
     r"|refund)) (done|made)", _returns_made),
    (r"how much (did|have|do) i (pay|paid|spen|owe)|\btotals?\b|altogether|add up|\bsum of\b|how "
     r"much.*\bspent\b|(what|how much).*\bi (pay|paid|spen[dt])\b", _totals),
    (r"^(?!.*\d{4})(.*(, |\b(me|know|so|and|but) ))?(how|why|when|what|who|which|do|does|am|is|are"
     r"|will)\b.*(return|refund|money|cash|send.* back|get back)|(get|have) .*money (on|to)|return "
     r"(policy|window|period)|shipping|deliver\w* (take|cost)", _help_article),
    (r"\breturn(?!ed|s)|refund(?!s)|(send|give|take|bring)\b.*\bback\b|money back", _give_back),
    (r"returns|warranty|guarantee|repair|broke|crack|spill|defect|damage|faulty|(not|n't|stopped) "
     r"work|express|abroad|(do|can) (you|u) (ship|deliver)|invoice|receipt|\bpa(id|y)\b(?! for)"
     r"|bonus|pay(ment|pal)|\bcard\b|(am|be|get|got|was) charge|my account|person|human|manager"
     r"|\bcall\b|(talk|speak) (to|with)|\bhours\W*$|\bopen(ing|ed| (on|at|today|now|until))"
     r"|\b(gold|platinum|loyalty|member|points|tier|password|phone num|contact|e-?mail"
     r")", _help_article),
    (r"policy|discount|voucher|coupon|price match|gift card|\bsale\b|% off|pick .*up", UNKNOWN),
    (r"\bord-?\d|order|track|parcel|package|deliver|\bship|arriv|status|waiting|my stuff|(where"
     r"|when)\b.*\b(my|is|are|get|come)\b(?!.*(stock|back))|\bi (bought|paid|spen)|did i (buy|pay"
     r"|spend)|\b(by|before) (\w+day|tomorrow|tonight|next)|never (got|came)|(n't|not) (here|there"
     r"|come|got)|^\W*\d{4}\W*$", _order),
    (r"product|catalog|price|cost|cheap|expensive|stock|how (much|many|big|heavy|large|loud)"
     r"|looking for|(you|got) (have|any|carry)|\b(buy|sell|recommend|anything|(under|below|over"
     r"|above) \W*\d|compare|versus|vs)\b|difference|better|(tell|know|more).* about|battery|weigh"
     r"|colou?r|memory|storage|screen|bluetooth|wireless|\busb|dimm|\bfit\b|(do|what).* have\b"
     r"|\b(it|they) come in\b|how (tall|wide|long) (is|are) (it|they)|avail|should i (get|take)"
     r"|\bbest\b|(be|come) back|when.*available|^\W*(and |so )?(is|are|does|has|can) (the|your|it"
     r"|this)\b", _product),
    (r"\b(good)?bye\b|good ?night|see (you|ya)\b|that('s| is) all\b", GOODBYE),
    (r"thank|\bthx|cheers", THANKS),
    (rf"(?!^\W*ok(ay)?\W*$){YES}", NOTHING_WAITS),
    (r"^\W*(ok(ay)?|great|cool|fine|good|perfect|h+m+|later|not (now|yet)|(wait|one (sec|mom)|let "
     r"me (think|check)|hold on).*)\W*$", CARRY_ON),
    (r"^\W*(hi|hello|hey|help|good \w+)\b|(what|who|how) (can|are|r|do) (you|u|i do)\b|what "
     r"now", HELLO),
    (r"angry|ridiculous|useless|terrible|worst|stupid|scam|awful|annoy|f[u*]ck|shit|hate", SORRY),
    (r"^\W*(ok )?(and|or|(what|how) about) (the|my|for)\b|^\W*(the|my) \S+( \S+)?\W*$|i mean\b"
     r"|laptop|sleeve|lamp|headphone|keyboard", _item),
    (r"", _no_rule),
]  # fmt: skip
SMALL_TALK = (GOODBYE, THANKS, CARRY_ON, HELLO, NOTHING_WAITS)
OF_RETURNS = (KEEP, FINE, NO_ADDRESS, _terms, _help_article, _no_rule)
# A sentence on one of these that asks nothing may be the reason of a return.
TOPICS = (_no_rule, _item, _order, _product, _help_article, THANKS, SORRY, FINE, FOREIGN)

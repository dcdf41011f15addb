"""What the rule-based model understands and says: RULES, at the end, is the table of it.

A rule looks, with the agents' real tools, at the order, the product or the article that is named
or was spoken of last.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from dataclasses import replace

from local.offline_english import (
    ASKS,
    PICKING,
    PLACE,
    PRONOUN,
    SMALL_WORDS,
    STATES,
    YES,
    naming,
    nouns_of,
    parts,
    sentence,
    spelled,
)
from local.offline_turn import ORDER, SKU, Instead, Turn, Wanted

MAX_REQUESTS = 2  # in one message: each may take a handoff, and the runner counts max_turns
ASK_REASON = "Why would you like to return it?"
ASK_ORDER = "Which order would you like to return?"


def answer(turn: Turn) -> str:
    """The answer to the customer's last message. Raises Wanted if a tool is needed first."""
    again = _open_return(turn)
    if again and re.search(YES, spelled(turn.message)):
        turn = replace(turn, message=again)
    elif ":" in again and _is_told(turn.message) and not re.search(ELSEWHERE, turn.message):
        why = f"{again.partition(':')[0]}: {sentence(turn.message)}"
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
    for known in (NOTE, MENU):  # say each once in a conversation
        if known in "\n".join(turn.spoken):
            text = text.replace(known, "").rstrip() or text
    # After talk of the return, the way back to it stays in sight.
    done = r'say "return|Return initiated|already|cannot be returned|\?$'
    if not again or any(rule not in OF_RETURNS for rule, _ in requests) or re.search(done, text):
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


def _requests(turn: Turn) -> list[tuple[Rule | str, str]]:
    """What the message asks for: the rules that answer it, each with its part of the message."""
    if hint := re.match(r"return (ORD-\d+): (.+)", turn.message):  # as we say it ourselves
        return [(functools.partial(_give_back, why=hint[2]), hint[1])]
    found = [(_rule(part), part) for part in parts(turn.message)]
    told = [part for _, part in found if _is_told(part)]
    refused = "cannot be returned" in turn.spoken[-1]
    instead = refused and re.fullmatch(TYPED_ORDER, turn.message.lower())  # only another number
    asked = [f for f in found if f[1] not in told]
    if turn.spoken[-1].endswith((ASK_REASON, ASK_ORDER)) and not _picks(turn):
        asked = [(_give_back if rule is _which else rule, part) for rule, part in asked]
    if turn.spoken[-1].endswith(ASK_REASON) and _give_back not in dict(asked):
        if _picks(turn):
            return [(f"Orders go back whole.\n\n{ASK_REASON}", turn.message)]
        asked = [f for f in asked if f[0] not in (CARRY_ON, NOTHING_WAITS, _else)]
        asked += [(_give_back, turn.subject)] * bool(told or not asked)
    elif told and (turn.spoken[-1].endswith(ASK_ORDER) or instead):
        asked.append((_give_back, turn.message))
    if _give_back in dict(asked):
        asked = [f for f in asked if f[0] not in (*SMALL_TALK, _else)]
        # Last: its answer may be our question, and the next message is the answer to that.
        return sorted(asked, key=lambda f: f[0] is _give_back)
    # Beside a request, small talk, a statement and "how fast is it" need no answer of their own.
    vague = [part for _, part in found if part in told or re.search(PRONOUN, part)]
    talk = [f for f in found if f[0] in SMALL_TALK or (f[0] is _else and f[1] in vague)]
    return [f for f in found if f not in talk] or found[-1:]


def _rule(text: str) -> Rule | str:
    """The first row of the table that fits."""
    return next(rule for pattern, rule in RULES if re.search(pattern, spelled(text)))


def _is_told(text: str) -> bool:
    """Whether `text` is neither a question nor a request, so that it may be a reason."""
    return _rule(text) in TOPICS and not re.search(ASKS, spelled(text))


def _reason(message: str) -> str:
    """What is told beside the wish to return. The customer reads it before the yes."""
    return sentence(" ".join(part for part in parts(message) if _is_told(part)))


def _picks(turn: Turn) -> bool:
    """Whether the message only picks one of the items that were listed."""
    items = re.findall(r"\*\*Item\*\*: .*", "\n".join(turn.spoken))
    words = re.findall(r"[a-z]+", re.sub(PICKING, "", text := spelled(turn.message)))
    return "a" <= text[:1] <= "z" and all(naming(items, [word]) for word in words)


def _bullets(lines: list[str]) -> str:
    """A Markdown list, with the name before the first bracket or colon in bold."""
    return "\n".join(re.sub(r"^([^:(]+)( \(|:)", r"- **\1**\2", line) for line in lines)


# Orders and returns


def _order(turn: Turn, request: str) -> str:
    text = spelled(request)
    lost = f"\n\nI am sorry that it did not reach you. {WRITE}" * bool(re.search(LOST, text))
    likely = "delivered" if lost else "processing|shipped" if re.search(WAITS, text) else ""
    told = _explained(turn, _meant(turn, request, likely)) + lost
    return re.sub(r"\n- \*\*Return\*\*: Order.*", "", told)


def _meant(turn: Turn, request: str, likely: str = "delivered", ask: str = "") -> str:
    """The order that is meant, or the only `likely` one. Else raises Instead with a list."""
    text, nouns = spelled(request), nouns_of(request)
    points_back = re.search(PRONOUN, text)
    if typed := typed_orders(request) or (typed_orders(turn.message) if points_back else []):
        return typed[0]
    spoken_of = turn.subject if turn.subject.startswith("ORD") else ""
    every = re.search(
        r"\b(all|both|every\w*|total|altogether|so far|(?<!one of my )orders)\b", text
    )
    mine = re.search(r"\bmy (\w+ )?(order|stuff|package|parcel)\b", text)
    anew = every or mine or re.search(rf"{PLACE}|\b(some|any)thing\b|\ban order\b", text)
    if spoken_of and not (nouns or anew):
        return spoken_of
    output = turn.use("list_orders")  # the newest first
    lines = re.findall(rf"(?m)^{ORDER}.*", output)
    named = naming(lines, nouns)
    # "The headphones", if no order has any: say what there is, and pick nothing.
    item = not mine and re.search(
        rf"\b(the|my|these|those) (?!{'|'.join(SMALL_WORDS)})[a-z]{{4}}", text
    )
    if spoken_of and not (named or anew) and (points_back or not item):
        return spoken_of
    lines = named or naming(lines, nouns_of(turn.message)) or lines
    fitting = [line for line in lines if likely and re.match(rf"\S+ ({likely}),", line)]
    place = "".join(re.findall(PLACE, text)[:1])
    listed = turn.spoken[-1].endswith(ASK_ORDER)
    if place == "other":
        lines = [line for line in lines if not spoken_of or spoken_of not in line]
    elif place == "second":
        lines = lines[1:2]
    elif place in ("old", "earl") or (place == "first" and not listed):
        lines = lines[-1:]
    elif place:
        lines = (fitting if "delivered" in text else lines)[:1]
    elif len(fitting) == 1 and not every and (named or not item):
        lines = fitting
    if len(lines) != 1:
        cents = sum(int(re.sub(r"\D", "", line.rpartition("$")[2])) for line in lines)
        after = ask or f"All together: ${cents / 100:,.2f}."
        after = "Only a delivered order can be returned, once." if ask and not fitting else after
        told = f"The orders of your account:\n\n{_bullets(lines)}\n\n{after}"
        raise Instead(told if lines else _bullets(output.splitlines()))
    return lines[0].partition(":")[0]


def typed_orders(text: str) -> list[str]:
    return list(dict.fromkeys(f"ORD-{number}" for number in re.findall(TYPED_ORDER, text.lower())))


def _explained(turn: Turn, number: str) -> str:
    """An order as get_order tells it, or what that says instead."""
    order, *facts = turn.use("get_order", order_id=number).splitlines()
    told = f"**{order}**\n\n{_bullets(facts).replace('Processing', 'Placed', 1)}"
    told += f"\n\n{NO_DAY}" * ("Status: shipped" in facts)
    return told if facts else order


def _give_back(turn: Turn, request: str, why: str = "") -> str:
    picks = turn.earlier and turn.spoken[-1].endswith(ASK_ORDER)  # an order, by this message
    why = why or _reason(turn.earlier[-1] if picks else turn.message)
    if len(typed_orders(turn.message)) > 1:
        return f"One order after the other, please.\n\n{_returns(turn, request, why)}"
    number = _meant(turn, request, ask=f"One order at a time. {ASK_ORDER}")
    told = _explained(turn, number)
    if "possible until" not in told:
        return f"It has a return already.\n\n{told}" if "Return reason" in told else told
    if not why:
        once = f'A return of {number} needs a reason, such as "too heavy".'
        return f"{once if turn.spoken[-1].endswith(ASK_REASON) else told}\n\n{ASK_REASON}"
    output = turn.use("initiate_return", order_id=number, reason=why)
    if re.match(r"(?!Return initiated).*(not approved|answer was no)", output):
        # The program itself says that nothing was returned.
        return f'All right. If you change your mind, say "return {number}: {why}".'
    return output  # word for word, a refusal as well


def _returns(turn: Turn, request: str, why: str = "") -> str:
    """What was returned, what can be, and the rules: the answer to all questions on returns."""
    lines = re.findall(rf"(?m)^{ORDER}.*", turn.use("list_orders"))
    named = [line.partition(":")[0] for line in naming(lines, nouns_of(request)) or lines]
    told, how = list[str](), list[str]()
    for number in (typed_orders(turn.message) or named)[:4]:
        facts = turn.use("get_order", order_id=number)
        made = re.sub(r"(?s).*Return reason", "return initiated. Reason", facts).replace("\n", ". ")
        made = re.sub(r"(?s).*Return: (Order \S+ )?", "no return so far; ", made)
        told.append(f"{number}: {made}")
        if "possible until" in facts:
            again = _open_return(turn)
            again = again if number in again else f"return {number}{': ' * bool(why)}{why}"
            how.append(f'To return {number}, say "{again}".')
    rules = re.findall(r"- (A delivered order can.*)", turn.instructions)
    return "\n\n".join([_bullets(told), *rules, *how])


# Products, articles, and all else


def _product(turn: Turn, request: str) -> str:
    """The product that is named, was spoken of, or fits; else a list of them."""
    text, nouns = spelled(request), nouns_of(request)
    if re.search(STATES, text) and not re.search(f"{ASKS}|{SHOPS}", text):
        return HELP["warranty"](turn, request)  # something is wrong with what was bought
    points_back, other = re.search(PRONOUN, text), re.search(r"\bother\b", text)
    if not nouns and re.match("ORD", "".join(turn.subjects)) and not re.search(OF_ALL, text):
        return _order(turn, request)
    lines = _products(turn, "")
    spoken_of = [line for line in lines if any(sku in line for sku in turn.subjects)]
    found = _named(lines, nouns)
    # "The laptop" is the Aero 14 Laptop, not the Felt Laptop Sleeve.
    found = [e for e in found if naming([e.partition(" (")[0].split()[-1]], nouns)] or found
    if other:
        found = [line for line in found or lines if line not in spoken_of]
    elif points_back and re.search(COMPARES, text):
        found += [line for line in spoken_of if line not in found]
    elif not found and (points_back or not (nouns or re.search(OF_ALL, text))):
        found = spoken_of
    elif not found and nouns:
        found = _products(turn, " ".join(nouns))
    if "cheaper" in text and len(found) == 1:
        than, less = found[0].partition(" (")[0], _bullets(lines[: lines.index(found[0])])
        return f"Cheaper than the {than}:\n\n{less}" if less else "We have nothing cheaper."
    if bound := re.search(r"(under|below|less than|up to)\D{,3}(\d[\d,]*)", text):
        fitting = [e for e in found or lines if _price(e) <= float(bound[2].replace(",", ""))]
        told = f"{'These are' if fitting else 'None of these is'} {bound[1]} ${bound[2]}"
        return f"{told}, the cheapest first:\n\n{_bullets(fitting or found or lines)}"
    compares = len(found) == 1 and re.search(rf"{COMPARES}|est\b", text)
    if most := re.search(r"(cheapest|lowest|(which|the).*cheaper)|most expensive|highest", text):
        found = (found or lines)[:1] if most[1] else (found or lines)[-1:]
    if len(found) == 1:
        return "I find only one.\n\n" * bool(compares) + _card(turn, text, found[0])
    if not (found or points_back or re.search(SHOPS, text)) and nouns:
        return _else(turn, request)
    why = "I find no such product. " if nouns and not found else ""
    why = "I do not know which one you mean. " if points_back and not found else why
    why = "I have no favourite. " if re.search("recommend|suggest|best|should", text) else why
    why = "I cannot judge which is better. " if "better" in text else why
    shown = "The" if found else "Our products, the"
    return f"{why}{shown} cheapest first:\n\n{_bullets(found or lines)}"


def _products(turn: Turn, query: str) -> list[str]:
    """What the search finds, the cheapest first."""
    found = turn.use("search_products", query=query)
    return sorted(re.findall(rf"(?m)^.*{SKU}.*$", found), key=_price)


def _named(lines: list[str], nouns: list[str]) -> list[str]:
    names = naming([line.partition(":")[0] for line in lines], nouns)
    return [line for line in lines if line.partition(":")[0] in names]


def _price(line: str) -> float:
    return float(re.sub(r".*\$|, \d+ in.*|, out.*|,", "", line))


def _card(turn: Turn, text: str, line: str) -> str:
    """One product, and whether it says what was asked."""
    card = turn.use("get_product", sku=re.findall(SKU, line)[0])
    told = re.sub(r"^([^(\n]+) \(", r"**\1** (", card).replace("\n", ". ", 1)
    asked = nouns_of(text) + re.findall(r" in (?!stock)([a-z]+)\W*$", text)  # a colour
    if re.search(ASKS_MORE, text) and not all(naming([card], [word]) for word in asked):
        return f"I do not know that about the {card.partition(' (')[0]}. {WRITE}\n\n{told}"
    if "out of stock" in card and re.search("stock|when|avail|have|back|sell|buy", text):
        return f"{told}\n\nI do not know when it is in stock again. {WRITE}"
    return told


def _help(turn: Turn, request: str, about: str = "") -> str:
    """The article `about` it, or one that has its words; a product; else Triage answers."""
    found = turn.use("search_knowledge_base", query=about or spelled(request))
    title, _, body = found.split("\n\n")[0].partition("\n")
    nouns, points_back = nouns_of(request), re.search(PRONOUN, spelled(request))
    stems = {noun[:6] for noun in nouns}
    fits = any(s in title.lower() for s in stems) or sum(s in body.lower() for s in stems) > 1
    if body and (about or fits):
        return f"**{title}**: {body}"
    about_product = points_back and re.match(SKU, turn.subject)
    if about_product or (nouns and _named(_products(turn, ""), nouns)):
        return _product(turn, request)
    turn.hand_off("transfer_to_triage")
    follows = turn.subjects or turn.spoken[-1].startswith("**")
    return NO_MORE if points_back and follows else f"{UNKNOWN} {SKILLS}"


def _item(turn: Turn, request: str) -> str:
    return _order(turn, request) if "get_order" in turn.offered else _product(turn, request)


def _why(turn: Turn, request: str) -> str:
    return HELP["return"](turn, request) if "return" in turn.spoken[-1] else NO_MORE


def _recall(turn: Turn, request: str) -> str:
    who = "".join(re.findall(r"customer is (.+)\. Today", turn.instructions))
    said = ["\n\nYour last messages:\n", *turn.earlier[-3:]] if turn.earlier else []
    return f"You are signed in as {who}." + "\n- ".join(said)


NOTE = "I am rule-based and know simple English. With OPENAI_API_KEY set, a real model answers."
MENU = (
    "I can look up, track and return your orders, and answer questions on products, shipping, "
    "payment, warranty and the loyalty program. For example:\n\n- where is my order?\n- what can I "
    "return?\n- how much is express shipping?"
)
SKILLS = f"{MENU}\n\n{NOTE}"
WRITE = "Please write to support@example.com."
UNKNOWN = f"I do not know that. {WRITE}"
NO_MORE = f"I do not know more than that. {WRITE}"
SORRY = f"I am sorry about the trouble. What I cannot solve here, a person may. {WRITE}"
FOREIGN = f"I know simple English only. {SKILLS}"
HELLO = f"Hello, how can I help? {SKILLS}"
THANKS = "You are welcome. I am here when you need anything else."
FINE = "All right."
NOTHING_WAITS = "Nothing waits for a yes. Tell me what I can do for you."
CARRY_ON = "All right. I am here when you need anything else."
GOODBYE = "Goodbye, and come back any time."
KEEP = "All right, I leave it at that."
NO_ADDRESS = f"I do not know where a return is sent to, who pays for that, or of a fee. {WRITE}"
NO_DAY = 'It does not say on which day it will arrive. Ask me "how long does shipping take?".'
IMPOSSIBLE = (
    "An order cannot be cancelled, changed, exchanged or sent to another address, nor a return "
    f"undone. Once an order is delivered, you can return it in this chat. {WRITE}"
)
TYPED_ORDER = r"(?<!under )(?<!below )(?<!than )(?<!\$)\b(?:ord-?)?(\d{4})\b(?! (?:dollar|buck))"
SHOPS = (
    r"\b(need|want|like|look|search|buy|prefer|price|cheap|any|sell|carry|recommend|do you have)"
)
WAITS = (
    r"where|when|track|arriv|com|wait|way|lost|late|\b(by|before|get)\b|my (\w+ )?(order|pa\w+)\b"
)
LOST = r"delivered\b.*\b(but|never|nothing|nowhere|not \w+|wrong|\w+n't)\b"
ASKS_MORE = r"^\W*((and|so|ok|but) )*(is|are|do|does|can|will|would|how|has|what (colou?r|size))\b"
COMPARES = r"compare|difference|between|versus|\bvs\b|better|\bor\b"
OF_ALL = r"product|sell|anything|do you have|cheap(?!er)|expensive|recommend|best"
ELSEWHERE = r"\d{4}|\bmy\b|never (got|came)|nothing here|n't (arriv|here|come|got)|thank|mind"
# What a message is about, and the rule or the text that answers it. The first row that fits counts.
Rule = Callable[[Turn, str], str]
_else: Rule = functools.partial(_help)  # for what no other row knows
HELP = {
    article: functools.partial(_help, about=article)
    for article in "return warranty shipping payment loyalty contact tracking".split()
}
_which: Rule = functools.partial(_item)  # "the older one", which picks an order when we ask for it
RULES: list[tuple[str, Rule | str]] = [
    (r"\bare you (an? )?(real|human|bot|robot|ai|person|machine|chatbot)|who (made|are) you"
     r"|am i talking", NOTE),
    (r"(chang|updat|edit|correct|fix|wrong)\w* (my |the )?(e-?mail|name|password)|my (e-?mail"
     r"|name|password)\b.* (chang|updat|wrong|fix|typo)", HELP["contact"]),
    (r"remember|(did|have) (i|we) (ask|say|said|talk|discuss)|(last|previous) message"
     r"|who am i\b(?! talk)|(about|on) me\b|my (name|tier)\b|what('s| is) my e?-?mail|(what"
     r"|which) tier|am i (a )?(gold|platinum|standard)|\b(my|i am|i'm)\b.*@", _recall),
    (r"[\u00bf\u00a1\u00df-\u00ff\u0370-\u1fff\u3040-\u9fff\uac00-\ud7af]|\b(hola|gracias|pedido"
     r"|d[o\u00f3]nde|quiero|devolver|por favor|ich|meine?|nicht|bestellung|danke|bitte|wo|wie"
     r"|ist|das|und|cuando|puedo|bonjour|merci|commande|je)\b", FOREIGN),
    # Of somebody else, or not possible
    (r"(?<!my )\b(?!(it|what|who|where|how|when|that|there|here|let|\w*day|order|thi|wa|ha"
     r"|list)'?s)\w{2,}('s( [a-z]+)?|s) (address|e-?mail|phone|orders?|account|password|tier|name"
     r"|data)\b|\b(his|her|their) (address|e-?mail|phone|orders?|account|wife|husband)\b|(other"
     r"|all|every) (customer|people|user)", "I see only your own account."),
    (r"\b(log|sign) ?(out|off)\b", "Type /quit to leave. Then log in with another email."),
    (r"\b(delet|eras|forget|clos|remov|deactivat|cancel)\w*\b.*\b(account|profile|data)\b",
     f"That cannot be done here. {WRITE}"),
    (r"\bi'?(ll| will) (take|buy) (?!.*back)|\b(want|wanna|like|love|can i|could i|how do i"
     r"|how can i) (to )?(buy|order|purchase)\b|(place|make) an? (new )?order|(in|to) my (cart"
     r"|basket)|check ?out|(like|want|need|take) (one|two|\d) (of|more|please)",
     f"I cannot take orders here. {WRITE}"),
    (r"never ?mind|forget (it|that)|keep (it|them|that)|(n't|not) (want to )?(return|send|refund)"
     r"|not (that|this) one|no need|not \w* ?sure|^\W*(ok )?cancel (that|it)\b|\bleave it\b"
     r"|maybe (later|not|another)|(some|an)other (time|day)|(not|n't) (now|today|do (it"
     r"|that))\W*$|^\W*(nope|nah)\b|wrong button|^\W*((ok|well|oh|um|sorry|actually)\W+)*(n|no"
     r"|nope|nah|stop|don't|nothing|no,? (thanks?( you)?|wait|not yet|later))\W*$", KEEP),
    (r"^\W*(no\W+)?(i )?((have|'ve|just) )*chang\w* my mind", FINE),
    (r"(?<!noise )cancel|undo|(chang|differ|wrong|new).*(?<!mail )addres|exchang|swap|replace"
     r"|(a new|different) one|\badd\b.* to (my|the|it|\w*\d)|(modif|edit|chang)\w* (my|the"
     r"|an) order|(send|ship|deliver) (it|them|this) to\b|revert|withdraw|remove .*from|\b(i"
     r"|we)('ve)? moved\b(?!.*need)", IMPOSSIBLE),
    # Returns: first the questions and the wishes that cannot be met, last the wish
    (r"(return|refund) (policy|window|period)", HELP["return"]),
    (r"where.*\bi (send|ship|bring|drop|return)|(return|which|what) address|\blabel\b|restocking"
     r"|postage|^(?!.*(shipping|express|deliver)).*\b(fees?|charges|any charge)\b|(pay|free"
     r"|cost).*(return|send.*back)|return shipping", NO_ADDRESS),
    (r"(return|send|sending|refund|take)\b(?!.*\d{4}).*\b(only|keep|just (one|the|a|my|half))\b"
     r"|(return|send|refund|take)\b.*(?<![erst] )\b(one|half|part|1) (?!of my ord)|keep (the|one"
     r"|my)\b|(just|only|keep)\b(?!.*\d{4}).*\b(return|send|refund)\b.* (one|half|part|and)\b"
     r"|only (return|send)|^(.*(, |\b(me|know|so|and|but|then) ))?(how|why|when|what|where|who"
     r"|which|until|do|does|did|am|is|are|was|will)\b.*(return|refund|money|cash|(send|get"
     r"|got)\w* back|send.* back|rid of)|(refund|return) status|\b(i|have|already|was) returned"
     r"|\b(no|any|open|pending) (return|refund)s?\b|go(ne)? thr|(which|what|to|money"
     r"|refund)[\w ]{1,20}\b(account|card)\b|(did|has|is|was) (it|that) (work|go|gone|done|made)"
     r"|(get|have) .*money (on|to)|(how much|get (all|every|it all)|what (would|will|do) i"
     r"\b(?!.*(gold|platinum|tier|member))).*\b(g[eo]t(ten)?|back|receive)\b|(amount|size"
     r"|much).*refund|how long do i have|return.*\b(after|used|opened|without)\b", _returns),
    (r"\breturn(?!ed|s)|refund(?!s)|(sen[dt]|sending|give|giving|take|taking|bring)\b.*\bback\b"
     r"|(money|cash) back|my money\b|reimburs|rid of", _give_back),
    # Help articles, orders, products
    (r"in total|altogether|how much (did|have|do) i (pay|paid|spen|owe)|cost me", _order),
    (r"missing|only (got|received)|wrong (item|product|order)|twice|double|stolen", SORRY),
    *((words, HELP[article]) for words, article in (
        (r"^(?!.*(n't|not|never|yet|did|has|have|when|where|\?)).*\b(arrived|came)\b|warranty"
         r"|guarant|repair|\bfix|broke|crack|spill|defect|damage|faulty|(not|n't|stopped"
         r"|won't) (work|turn|start)|smash|shatter|\b(dent|tear|stain)|scratch|torn|flicker|leak"
         r"|burn|loose|dead\b", "warranty"),
        (r"\blost\b|mailbox|neighbo", "tracking"),
        (r"shipping|express|overnight|abroad|overseas|international|(do|can) you (ship|deliver)"
         r"|deliver\w* (take|cost|time)", "shipping"),
        (r"invoice|receipt|\bbill\b|\bpa(id|y)\b|pay(ing|ment|pal)|card\b|\bcharge(d| me)|accept"
         r"|instal|visa|amex|credit|bitcoin|crypto|\btax\b|\bvat\b", "payment"),
        (r"\b(gold|platinum|loyalty|member|points|reward|tier|bonus|vip)|to spend", "loyalty"),
        (r"my account|do about (it|this|that)\b|person\b|human|manager|customer (service|care)"
         r"|supervisor|\bagent|representative|someone|complain|contact|hotline|\bcall\b|(talk"
         r"|speak|chat) (to|with)|\bhours\W*$|\bopen(ing|ed| (on|at|today|now|until))|(your"
         r"|tele)phone|your phone|phone n|password|e-?mail|\breach\b|on (the )?(week\w+"
         r"|\w+day)s?\b", "contact"),
    )),
    (r"^\W*but (i|we|you|that)\b", SORRY),
    (r"policy|privacy|discount|voucher|coupon|promo|price match|gift ?(card|wrap)|\bsale\b|% off"
     r"|pick .*up|\bjobs?\b|newsletter|insur|student (disc|pric)", UNKNOWN),
    (rf"\bord-?\d|order|track|parcel|package|deliver|\bship|arriv|status|waiting|my stuff|coming"
     rf"|\blate\b|(where|when)\b.*\b(my|is|are|get|come)\b(?!.*(stock|back))|\bi (bought|paid"
     rf"|spen)|did i (buy|pay|spend)|\b(by|before) (\w+day|tomorrow|tonight|next)|never (got"
     rf"|came)|(n't|not) (here|there|come|got)|dispatch|courier|carrier|\bnews (on|of|about)"
     rf"|update|supposed to|overdue|\beta\b|{TYPED_ORDER}", _order),
    (rf"catalog|price|cost|how (much|many|big|heavy|large|loud|tall|wide)|looking for|do you have"
     rf"|got any|\b(sell|suggest|anything|vs)\b|(under|below) \W*\d|(tell|know|more).* about"
     rf"|avail|stock|should i|they come|(be|come) back|cheaper|{OF_ALL}|{COMPARES}|^\W*(and "
     rf"|so )?(is|are|does|has|can) (the|your|it|this)\b", _product),
    # Small talk
    (r"\b(good)?bye\b|good ?night|see (you|ya)\b|that('s| is) all\b", GOODBYE),
    (r"thank|\bthx|cheers", THANKS),
    (rf"(?!^\W*ok(ay)?\W*$){YES}", NOTHING_WAITS),
    (r"^(\W*\b(ok(ay)?|great|cool|fine|good|perfect|h+m+|later|not (now|yet)|lol|(ha)+h?|nice|wow"
     r"|i see|got it|(wait|one (sec|mom)|let me (think|check)|hold on).*)\b)+\W*$", CARRY_ON),
    (r"^\W*(hi|hiya|hello|hey|yo|sup|howdy|help|good \w+)\b|how are (you|things)\b|(are you"
     r"|anyone) there", HELLO),
    (r"(what|who|how) (can|are|do) (you|i do)\b|what now|my options", SKILLS),
    (r"angry|not (very )?helpful|rude\b|ridiculous|useless|terrible|worst|stupid|scam|awful|annoy"
     r"|f[u*]ck|shit|hate|\bsuck|crap|unacceptable|disappoint|frustrat|fed up|horribl", SORRY),
    (r"^\W*(but )?(why|how come)( not| is that| can't i)?\W*$", _why),
    (rf"{PLACE} (one|order)\b", _which),
    (r"^\W*(ok )?(and|or|(what|how) about) (the|my|for)\b|^\W*(the|my) \S+( \S+)?\W*$|i mean\b"
     r"|\binside\b", _item),
    (r"", _else),
]  # fmt: skip
SMALL_TALK = (GOODBYE, THANKS, CARRY_ON, HELLO, SKILLS, NOTHING_WAITS)
OF_RETURNS = (KEEP, FINE, NO_ADDRESS, _returns, _else, HELP["return"])
# A sentence on one of these that asks nothing may be the reason of a return.
TOPICS = (_else, _item, _order, _product, *HELP.values(), THANKS, SORRY, FINE, FOREIGN)

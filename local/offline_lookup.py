"""What the offline model reads in the shop and tells of it: orders, products, help articles."""

from __future__ import annotations

import re

from local import offline_english as english
from local.offline_turn import ORDER, SKU, Instead, Turn

WRITE = "Please write to support@example.com."
UNKNOWN = f"I do not know that. {WRITE}"
NO_MORE = f"I do not know more than that. {WRITE}"
HINT = 'I help with orders, products and policies: ask me "what can you do?".'
NO_DAY = "The order does not say on which day it will arrive."
ASK_ORDER = "Which order would you like to return?"
TYPED_ORDER = (
    r"(?<!under )(?<!below )(?<!than )(?<!\$)(?<!\d-)\b(?:ord-?)?(\d{4})\b(?! (?:dollar"
    r"|buck))"
)
ALL_ORDERS = r"\b(all|both|every\w*|total|altogether|so far|(?<!one of my )orders)\b"
WAITS = (
    r"where|when|track|arriv|com|wait|way|lost|late|\b(by|before|get)\b|my (\w+ )?order\b|package"
    r"|parcel|news|ship|my stuff|delivery|check on|n't here|not here|charged?\b"
)
ARRIVES = (
    r"when|arriv|how long|late\b|soon|yet\b|why|taking|\bby \w+day|days?\b|date|today|tomorrow"
    r"|tonight|get (it|here)|overdue"
)
# What of an order is asked for, once it has been shown.
FACTS = (
    ("track", "Tracking"),
    (r"how much|cost|price|pay|paid|total|expensive", "Item|Total"),
    (r"\b(in|inside|contain)\b|what (did|was|were|have)|items?\b|how many", "Item"),
    (rf"{WAITS}|{ARRIVES}|status|deliver", "Status|Placed|Shipped|Delivered|Tracking"),
)
COMPARES = r"compare|plus|difference|between|versus|\bvs\b|better|\bor\b(?! something)"
OF_ALL = r"product|sell|anything|do you have|cheap(?!er)|expensive|priciest|recommend|best"
SHOPS = (
    r"\b(need|want|like|look|search|buy|prefer|price|cheap|any|sell|carry|recommend|do you have"
    r"|nice|great|love|perfect)"
)
# Of the orders, the newest first.
PLACES = {"second": slice(1, 2), **dict.fromkeys(("first", "old", "earl"), slice(-1, None))}
# What a sentence holds that answers such a question.
HOLDS = (
    (r"how much|cost|price|free|expensive|pay|\$|dollar|buck", r"\$|free"),
    (r"how (long|many|fast|soon|old)|when|until|(day|week|month|year)s?\b|old\b|bought|ago\b",
     r"\b(day|month)s?\b"),
    (r"(do|should|have to|need to) (i )?\w* ?(do|start)|how (do|can|would) i"
     r"|who (do|should|can)|need|where do i|photo", "write|tell us"),
    (r"(week|satur|sun)(end|day)|open|time|hours|from when", "Monday"),
    (r"(does|is)\b.*cover", "cover|24-month"),
    (r"(which|what|to|on|my) (account|card)", "payment method"),
    (r"e-?mail|phone|call\b", "@|555"),
    (r"do i get|(move|level) up", "bonus"),
    (r"chang|password|name\b", "To change"),
    (r"where|country|(ship|deliver|send) (it |them )?to\b|\bin [a-z]{4,}$", "country"),
)  # fmt: skip


def bullets(lines: list[str]) -> str:
    """A Markdown list, with the name before the first bracket or colon in bold."""
    return "\n".join(re.sub(r"^([^:(]+)( \(|:)", r"- **\1**\2", line) for line in lines)


def typed_orders(text: str) -> list[str]:
    return list(dict.fromkeys(f"ORD-{number}" for number in re.findall(TYPED_ORDER, text.lower())))


# Orders


def order(turn: Turn, request: str) -> str:
    text = english.spelled(request)
    likely = "processing|shipped" if re.search(WAITS, text) else ""
    likely = "delivered" if re.search("did i (get|receive)|which.*deliver", text) else likely
    if len(several := typed_orders(request)) > 1:
        return "\n\n".join(explained(turn, number) for number in several)
    number = meant_order(turn, request, likely)
    told = explained(turn, number, of_return=False)
    asked = [names for asks, names in FACTS if re.search(asks, text)]
    if asked and any(f"**Order {number}**" in said for said in turn.spoken[-10:]):
        facts = re.findall(rf"(?m)^- \*\*(?:{asked[0]})\*\*.*", told)
        told = "\n".join([f"Order {number}:\n", *facts]) if facts else told
    status = re.search(r"Status\*\*: (processing|shipped)", told)
    if status and re.search(ARRIVES, text):
        told += f"\n\n{NO_DAY} {_shipping(turn, 'shipped' in status[1])}"
    return told


def _shipping(turn: Turn, shipped: bool) -> str:
    """How long the ways of shipping take."""
    said = re.findall(r"[^.]*business days", _article(turn, "shipping")[1])
    return ". ".join(part.strip() for part in said[shipped:]) + "." * bool(said)


def lost(turn: Turn, request: str) -> str:
    told = explained(turn, meant_order(turn, request, "delivered"), of_return=False)
    return f"{told}\n\nI am sorry that it did not reach you. {WRITE}"


def charged(turn: Turn, request: str) -> str:
    """Whether an order was paid: the article says when, the order whether it was shipped."""
    number = meant_order(turn, request, "processing|shipped")
    status = re.findall("(?m)^Status: .*", turn.use("get_order", order_id=number))
    charge = fitting(_article(turn, "payment")[1], "charged")
    return f"Order {number}. {''.join(status)}. {charge}"


def explained(turn: Turn, number: str, of_return: bool = True) -> str:
    """An order as get_order tells it, or what that says instead."""
    name, *facts = turn.use("get_order", order_id=number).splitlines()
    shown = [fact for fact in facts if of_return or not fact.startswith("Return: Order")]
    told = f"**{name}**\n\n{bullets(shown).replace('Processing', 'Placed', 1)}"
    return told if facts else name


def meant_order(turn: Turn, request: str, likely: str = "delivered", ask: str = "") -> str:
    """The order that is meant, or the only `likely` one. Else raises Instead with a list."""
    text, nouns = english.spelled(request), english.nouns_of(request)
    points_back = re.search(english.PRONOUN, text)
    if typed := typed_orders(request) or (typed_orders(turn.message) if points_back else []):
        return typed[0]
    spoken_of = turn.subject if turn.subject.startswith("ORD") else ""
    every = re.search(ALL_ORDERS, text)
    mine = re.search(r"\bmy (\w+ )?(order|stuff|package|parcel)\b", text)
    anew = every or mine or re.search(rf"{english.PLACE}|\b(some|any)thing\b|\ban order\b", text)
    if spoken_of and not (nouns or anew):
        return spoken_of
    output = turn.use("list_orders")  # the newest first
    lines = re.findall(rf"(?m)^{ORDER}.*", output)
    named = english.naming(lines, nouns)
    # "The headphones", if no order has any: say what there is, and pick nothing.
    item = not mine and re.search(
        rf"\b(the|my|these|those) (?!{'|'.join(english.SMALL_WORDS)})[a-z]{{4}}", text
    )
    if spoken_of and not (named or anew) and (points_back or not item):
        return spoken_of
    lines = named or english.naming(lines, english.nouns_of(turn.message)) or lines
    fitting = [line for line in lines if likely and re.match(rf"\S+ ({likely}),", line)]
    place = "".join(re.findall(english.PLACE, text)[:1])
    if most := re.search("most expensive|priciest|highest|biggest|cheapest", text):
        lines = sorted(lines, key=_price, reverse=most[0] != "cheapest")[:1]
    elif place in ("other", "previous", "one before"):
        lines = [line for line in lines if not spoken_of or spoken_of not in line]
    elif place == "first" and turn.spoken[-1].endswith(ASK_ORDER):
        lines = lines[:1]  # of the list that was shown
    elif place:
        lines = (fitting if "delivered" in text else lines)[PLACES.get(place, slice(1))]
    elif len(fitting) == 1 and not every and (named or not item):
        lines = fitting
    if every and "track" in text:
        raise Instead("\n\n".join(explained(turn, line.partition(":")[0]) for line in lines[:3]))
    if len(lines) != 1:
        after = ask or f"All together: {total(lines)}."
        after = "Only a delivered order can be returned, once." if ask and not fitting else after
        told = f"The orders of your account:\n\n{bullets(lines)}\n\n{after}"
        raise Instead(told if lines else bullets(output.splitlines()))
    return lines[0].partition(":")[0]


def total(lines: list[str]) -> str:
    cents = sum(int(re.sub(r"\D", "", line.rpartition("$")[2])) for line in lines)
    return f"${cents / 100:,.2f}"


# Products


def product(turn: Turn, request: str) -> str:
    """The product that is named, was spoken of, or fits; else a list of them."""
    text, nouns = english.spelled(request), english.nouns_of(request)
    if re.search(english.STATES, text) and not re.search(f"{english.ASKS}|{SHOPS}", text):
        return article(turn, request, "warranty")  # something is wrong with what was bought
    points_back, of_all = re.search(english.PRONOUN, text), re.search(OF_ALL, text)
    lines = _products(turn, "")
    spoken_of = (
        _named(lines, english.nouns_of(turn.message))
        or [e for e in lines if any(sku in e for sku in turn.products)]
        or _named(lines, english.nouns_of(" ".join(turn.earlier[-1:])))
    )
    found = _named(lines, nouns)
    if re.search(COMPARES, text):  # of each thing that is named, not of the best hit
        found = [e for e in lines if any(e in _named(lines, [noun]) for noun in nouns)]
    # "The laptop" is the Aero 14 Laptop, not the Felt Laptop Sleeve.
    found = [e for e in found if english.naming([e.partition(" (")[0].split()[-1]], nouns)] or found
    if re.search(r"\b(other|alternative|similar|else)", text):
        found = [line for line in found or lines if line not in spoken_of]
    elif points_back and re.search(COMPARES, text):
        found += [e for e in lines if any(sku in e for sku in turn.subjects) and e not in found]
    elif not found:
        meant = len(spoken_of) == 1 and not (of_all or re.search(SHOPS, text))
        if points_back or meant or not (nouns or of_all):
            found = spoken_of
        elif nouns:
            found = _products(turn, " ".join(nouns))
    if "cheaper" in text and len(found) == 1 and not re.search(r"than \D?\d", text):
        than, less = found[0].partition(" (")[0], bullets(lines[: lines.index(found[0])])
        return f"Cheaper than the {than}:\n\n{less}" if less else "We have nothing cheaper."
    if bound := re.search(
        r"(under|below|less than|cheaper than|up to|around)\D{,3}(\d[\d,]*)", text
    ):
        price, least = float(bound[2].replace(",", "")), 0.7 * (bound[1] == "around")
        fitting = [
            e for e in found or lines if least * price <= _price(e) <= (least or 0.9) / 0.7 * price
        ]
        told = f"{'These are' if fitting else 'None of these is'} {bound[1]} ${bound[2]}"
        return f"{told}, the cheapest first:\n\n{bullets(fitting or found or lines)}"
    compares = len(found) == 1 and re.search(rf"{COMPARES}|est\b", text)
    if most := re.search(
        r"(cheapest|lowest|(which|the).*cheaper)|most expensive|highest|priciest", text
    ):
        found = (found or lines)[:1] if most[1] else (found or lines)[-1:]
    if len(found) == 1:
        return "I find only one.\n\n" * bool(compares) + _card(turn, text, found[0])
    if not (found or points_back or re.search(SHOPS, text)) and nouns:
        return article(turn, request)
    why = ""
    if "better" in text:
        why = "I cannot judge which is better. "
    elif re.search("recommend|suggest|best|should", text):
        why = "I have no favourite. "
    elif points_back and len(found) in (0, len(lines)):
        why = "I do not know which one you mean. "
    elif nouns and not found:
        why = "I find no such product. "
    if len(found) == 2:
        return why + "\n\n".join(_card(turn, "", line) for line in found)
    if not (found or why or of_all or re.search(SHOPS, text)):
        return f"{UNKNOWN} {HINT}"
    shown = "The" if found else "Our products, the"
    return f"{why}{shown} cheapest first:\n\n{bullets(found or lines)}"


def _products(turn: Turn, query: str) -> list[str]:
    """What the search finds, the cheapest first."""
    found = re.findall(rf"(?m)^.*{SKU}.*$", turn.use("search_products", query=query))
    # A phone is no headphone.
    within = [line for line in found if re.search(rf"\w{query}", line, re.I)] if query else []
    return sorted((line for line in found if line not in within), key=_price)


def _named(lines: list[str], nouns: list[str]) -> list[str]:
    names = english.naming([line.partition(":")[0] for line in lines], nouns)
    return [line for line in lines if line.partition(":")[0] in names]


def _price(line: str) -> float:
    return float(re.sub(r".*\$|, \d+ in.*|, out.*|,", "", line))


def _card(turn: Turn, text: str, line: str) -> str:
    """One product, and whether it says what was asked."""
    card = turn.use("get_product", sku=re.findall(SKU, line)[0])
    told = re.sub(r"^([^(\n]+) \(", r"**\1** (", card).replace("\n", ". ", 1)
    asked = english.nouns_of(text) + re.findall(r" in (?!stock)([a-z]+)\W*$", text)  # a colour
    if "out of stock" in card and re.search("stock|when|avail|have|back|sell|buy", text):
        return f"{told}\n\nI do not know when it is in stock again. {WRITE}"
    if re.search(r"\b(good|worth|nice)\b(?! (morning|evening|day))", text):
        return f"I cannot judge that.\n\n{told}"
    lacks = not all(english.naming([card], [word]) for word in asked)
    if lacks and re.search(english.ASKS, text):
        return f"I do not know that about the {card.partition(' (')[0]}. {WRITE}\n\n{told}"
    return told


# Help articles


def article(turn: Turn, request: str, about: str = "") -> str:
    """The article `about` it, or one that has its words; else a product, or what is known."""
    title, body = _article(turn, about or english.spelled(request))
    nouns = english.nouns_of(request)
    stems = {noun[:6] for noun in nouns}
    fits = any(s in title.lower() for s in stems) or sum(s in body.lower() for s in stems) > 1
    if body and (about or fits):
        told = fitting(body, request) or body
        if title != turn.article[0]:  # the first time all of it, and what fits first
            told = body if told.startswith("It ") else told
            told = " ".join([told, *(part for part in _sentences(body) if part not in told)])
        return f"**{title}**: {told}"
    if nouns and _named(_products(turn, ""), nouns):
        return product(turn, request)
    if turn.article[0]:
        return more(turn, request)
    points_back = re.search(english.PRONOUN, request)
    of_product = re.match(SKU, turn.subject) and (
        points_back or re.search(r"^\S+( \S+){,2}\?", request)
    )
    if of_product or (nouns and _products(turn, " ".join(nouns))):
        return product(turn, request)
    turn.hand_off("transfer_to_triage")
    return NO_MORE if turn.subjects and points_back else f"{UNKNOWN} {HINT}"


def more(turn: Turn, request: str) -> str:
    """What the article that was told last says to one more question on it."""
    if told := follows(turn, request):
        return told
    turn.hand_off("transfer_to_triage")
    return NO_MORE


def follows(turn: Turn, request: str) -> str:
    """The part of the article that was told last that answers `request`; empty if none does."""
    title, said = turn.article
    before = f"{turn.earlier[-1]} {request}" if title and turn.earlier else ""
    told = title and (
        fitting(said, request)
        or fitting(_article(turn, title)[1], request)
        or (re.match("(and|what about|how about) ", request.lower()) and fitting(said, before))
    )
    return f"**{title}**: {told}" if told else ""


def _article(turn: Turn, query: str) -> tuple[str, str]:
    """Title and text of the article that fits best; without text, there is none."""
    found = turn.use("search_knowledge_base", query=query).split("\n\n")[0]
    return found.partition("\n")[0], found.partition("\n")[2]


def _sentences(text: str) -> list[str]:
    return re.split(r"(?<=\.)\s", text)


def fitting(text: str, question: str) -> str:
    """The sentences that hold most of what is asked for, and of these those with most words."""
    stems = [noun[:5] for noun in english.nouns_of(question)]
    holds = [holds for asks, holds in HOLDS if re.search(asks, english.spelled(question))]
    scores = dict[str, tuple[int, int]]()
    for part in _sentences(text):
        held = sum(bool(re.search(pattern, part)) for pattern in holds)
        scores[part] = held, sum(stem in part.lower() for stem in stems)
    most = max(scores.values())
    fits = most[0] if holds else most[1]
    return " ".join(part for part in scores if fits and scores[part] == most)

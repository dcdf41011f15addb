"""The English of the rule-based model: typos, sentences, and which of them ask or agree."""

from __future__ import annotations

import functools
import re
from difflib import get_close_matches

# A new sentence, or "and" before a word that opens a request: "slow and heavy" stays one.
NEXT_REQUEST = (
    r"(?i)(?<=[.?!])\s+|\n+|,\s+(?!\w+\W*$)(?=(?:wh(?:at|ere|en|o|y)'?s?|how|can|i'd|i want"
    r"|(?:is|are|do|does|will) (?:it|there|you|i|they|the|my))\b)|,?\s+(?:and|n|also"
    r"|then)\s+(?=(?:also|please|wh(?:at|ere|en|o|y)'?s?|how|do|does|can|could|is|are|tell|show"
    r"|list|return|refund|track|send|my|i|i'd)\b)"
)

# In a wish to return, the reason may follow a comma or an order's number, or have no comma at all.
NEXT_CLAUSE = (
    r"(?<=[,;:])\s+|(?<=\d{4})\s+(?!(?:and|from|dollars|back)\b)(?=\w)|\s[-\u2013\u2014]+\s"
    r"|(?<!when|what|long|much)(?<!how)"
    r"\s(?=(?:but|because|becuase|bc|since|due to|so)\s|(?:i want|i'?d like|can i)\b"
    r"|(?:it|they)(?:'?s|'?re| is| are| was| were| does| do| keeps)\b)"
)
GREETING = (
    r"(?i)^\W*(hi|hiya|hello|hey|yo|good (morning|afternoon|evening|day))( there| again)?[\s,.!:]+"
    r"(?!again|there)(?=\w)"
)
# A question, or the wish to return a part of an order.
ONE_CLAUSE = (
    r"(?i)\b(keep|only)\b|^\W*(how|why|what|when|where|who|until|is|are|do|does|did|was|were"
    r"|will|am)\b"
)
# What a typo is mended to, and the words that name no item, by how they begin.
KEYS = """address cancel chance change charge delivered delivery exchange guarantee invoice
keyboard laptop order ordered orders package policy price product refund return returned returns
shipping taking talking tracking warranty""".split()
SMALL_WORDS = """about actual again also another any arriv avail been below best better between
both bought buck buy cheap come compar cost could day deliver differ does dollar each earl ever
exactly expensive first from give good have help here home hour into just kind know last late left
like list long look many maybe mean mine money more most much need newe number offer okay old ones
only open order other over package parcel please plus possib price pricie product really recent
recommend refund return right second sell send ship shit show some special start status still
stock suggest take tell th time today together tomorrow track turn under vers want week were wh
will with work would your""".split()
MONTHS = """january february march april june july august september october november
december""".split()
PRONOUN = r"(?i)\b(it|its|it's|this|that|them|they)\b|^\W*and the (?!most|\w+est\b)"
PLACE = (
    r"\b(other|previous|one before|last(?! (?:week|month|year))|latest|newe|recent|old|earl|first"
    r"|second)"
    r"(?:r|st|er|est|ier|iest)?\b"
)
PICKING = (
    r"\b(just|only|the|that|this|th[eo]se|both|all|of|them|ones?|an?|two|first|second|last|and|my"
    r"|other|oh|no|not|ok|then|well)\b"
)
NO_REASON = (
    r"(?i)^\W*((and|ord-\d+|because|bc|since|of|but|so|ok|all right|alright|then|reason|please"
    r"|pls|sorry|hi|hello)\b\W*)+"
)
STATES = (
    r"\b(i|we|it|they|is|are|was|were|has|had|keeps?|got|came|\w{3,}ed|\w+n't)\b|\b(the|my) \w+ "
    r"\w+s\b"
)
YES = (
    r"^(\W*\b(y|yes|sorry|i (meant?|said)|yep|yeah|yup|sure|ok(ay)?|fine|well|actually|please"
    r"|let'?s|do|it|that|of|go|on|ahead|proceed|now|then|so|after|the|whole|order|all|everything"
    r"|alright|thing|perfect|cool|good|nice|great|h+m+)\b)+[^\w?]*$"
    r"|^(?!.*(n't|not|before|should)).*\b(do it|go ahead|proceed)( then| now| please)?[^\w?]*$"
)
# A question, or a sentence that asks for something; "is too loud" and "does not work" are neither.
ASKS = (
    r"\?|^\W*((and|so|but|ok|well|actually|please|pls|wait|also|or|n|cool|great|awesome|nice"
    r"|hm+)\W+)*((until|what|why|how|when|where|who|which)('?s|'?re)?\b|(do|is|are|was|were|have"
    r"|has|am) (it|they|there|you|i|we|the|my|that|this)\b|(does|did|can|could|will|would|should"
    r"|may)\b(?!n't| not)|(show|tell|give|let|keep|list|look|help|talk|call|send|pretend|ignore"
    r"|compare|you tell)\b)|\b(want to|wanna|like to|rather|i meant?)\b|^\W*([a-z]{0,2}|idk|yes"
    r"|okay|sure|h+m+|uhm?|dunno|e*h* ?i (dunno|don't know)|warranty|shipping|payment|help"
    r"|please\b.*)\W*$|\b(too|as well)\W*$"
    rf"|{PLACE} (one|order)\W*$|^\W*(for |order )?(ord-?)?\d{{4}}\W*$|^(ok |okay )?then (the|my) "
)


def parts(message: str) -> list[str]:
    """The sentences and requests of a message; of a wish to return, its clauses too."""
    requests = re.split(NEXT_REQUEST, re.sub(GREETING, "", message.strip()))
    if not re.search(r"\breturn(?!ed|s)|refund(?!s)|\bback\b|rid of", spelled(message)):
        return requests
    clauses = [[r] if re.search(ONE_CLAUSE, r) else re.split(NEXT_CLAUSE, r) for r in requests]
    return [clause for request in clauses for clause in request]


@functools.lru_cache
def spelled(text: str) -> str:
    """`Dont retrun` -> `don't return`: a word that is nearly one of KEYS becomes it."""
    text = re.sub(r"\br (?=u\b|you\b)", "are ", re.sub(r"\bu\b", "you", text[:1000].lower()))
    text = re.sub(r"\b(d[io]d?|does|dos|is|was|wo|ca|has|have|are|could|would)nt\b", r"\1n't", text)
    text = re.sub(r"(^|, )(first|second|third)(ly)?(, |: |$)", " ", text)
    text = re.sub(r"\b(what|where|who|how|when|that|there|i(?=[mv]))(s|m|ve)\b", r"\1'\2", text)
    return re.sub(r"[a-z]{4,14}", lambda w: (get_close_matches(w[0], KEYS, 1, 0.83) or w)[0], text)


def nouns_of(text: str) -> list[str]:
    """The words of `text` that may name an item."""
    words = re.findall(r"\b[a-z]{4,}\b", re.sub(r"\w+n't|'\w+", "", spelled(text)))
    nouns = [word.removesuffix("s") for word in words if not word.startswith(tuple(SMALL_WORDS))]
    return nouns + [month[:3] for month in nouns if month in MONTHS]


def naming(lines: list[str], nouns: list[str]) -> list[str]:
    """The lines that name the most of `nouns`, typos forgiven. None, if no line names one."""
    known = [re.findall(r"[\w-]{3,}", line.lower()) for line in lines]
    hits = [sum(bool(get_close_matches(n, words, 1, 0.8)) for n in nouns) for words in known]
    return [line for line, hit in zip(lines, hits, strict=True) if hit and hit == max(hits)]


def sentence(text: str) -> str:
    text = re.sub(r"[\s.,!]+$", "", re.sub(NO_REASON, "", text.strip(" ,.:;")))
    return text[:1].upper() + text[1:]

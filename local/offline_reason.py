"""What the offline model takes for a reason to return something, and what it does not.

A reason is what stands after "because", or a clause that tells what is wrong. A no, a wait, a
question, an address or another wish is none, whatever words it has.
"""

from __future__ import annotations

import re

BECAUSE = r"(?is)\b(?:reason(?: is)?:?|because|becuase|cause|since|due to)(?: of)?\s+(.+)"
CLAUSE_END = (
    r"(?i)[,;:!\n]+|\.(?:\s|$)|(?<=\?)\s|\s[-\u2013\u2014]+\s|\b(?:so|but|because|as it|ord)\b"
    r"|\b-?\d{4,10}\b|\s(?:and )?(?=please\b|thank|(?:it|they)(?:'?s|'?re| is| are| was| were)\b)"
)
WRONG = (
    r"\b(too(?!\W*$)|not?|never|wrong|mistake|accident|broke\w*|damaged?|faulty|defect\w*|dead"
    r"|crack\w*|scratch\w*|missing|hate|dislike|disappoint\w*|chang\w* (my|her|his) mind|cheaper"
    r"|expensive|twice|another one|already (has|have|own|got)|gift|present|hurts?|crash\w*"
    r"|(bad|poor)\w*)\b|n't\b|^(it|they|he|she|it's|they're|its)\s+\w+"
    r"|^(the|my|this|that)\b.* (is|are|was|were|has|had|keeps?|looks?|feels?|smells?|makes?)\b"
)
NO_REASON = (
    r"\?|@|\b(return|refund|send|undo|confirm|approv\w*|admin|ask|tell|know|matter|care|business"
    r"|questions?|understand|sure|yet|right away|immediately|please|thank\w*|sorry)\b"
    r"|\bmy (name|order|number|address|phone)\b|\bi (want|need|wish|mean|will)\b|\bi'(d|ll)\b"
    r"|(n't|not) (want|mean) to\b|\bno (wait|way|idea|reason|problem|need|i|not)\b|^no$"
    r"|^(what|why|how|when|where|who|which|hello|hi|hey|wait|stop|keep|leave|let|show|give)\b"
    r"|^(do|does|did|is|are|was|can|could|will|would|has|have) (it|they|there|you|i|we|the|my)\b"
    r"|\bnot (now|today|that|this|the|it|my|really|ord)\b"
    r"|^(it'?s|it is|that'?s) (the|my|me|ok\w*|fine|nothing|all|just)\b"
)


def reason(text: str) -> str:
    """`return ORD-1001, not powerful enough` -> `Not powerful enough`; empty if none."""
    text = text[:500]  # the patterns take seconds on pages of "because"
    told = re.search(BECAUSE, text)
    parts = re.split(CLAUSE_END, told[1] if told else text)
    clauses = [clause for part in parts if (clause := re.sub(r"^\W+|(\W+and)?\W*$", "", part))]
    kept: list[str] = []
    for clause in clauses:
        plain = with_apostrophes(clause.lower())
        excluded = re.search(NO_REASON, plain)
        if told and kept and excluded:
            break  # what follows the reason, such as "please do not ask me again"
        # The customer calls the first clause after "because" a reason, whatever it is.
        if told or (re.search(WRONG, plain) and not excluded):
            kept.append(clause)
    joined = ", ".join(dict.fromkeys(kept))
    return joined[:1].upper() + joined[1:]


def because(wish: str, another: str) -> str:
    """The wish with this reason behind it, and with its own if it has one."""
    reasons = ", ".join(dict.fromkeys(filter(None, (reason(wish), another))))
    return f"{without_reason(wish)} because {reasons}" if reasons else wish


def without_reason(wish: str) -> str:
    return re.split(BECAUSE, wish)[0]


def with_apostrophes(text: str) -> str:
    """`it dosnt fit` -> `it dosn't fit`"""
    return re.sub(r"\b(do|does|dos|did|is|was|wo|ca|has|have|are|could|would)nt\b", r"\1n't", text)

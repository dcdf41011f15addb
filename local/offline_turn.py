"""What a rule of the offline model sees of a conversation, and how it asks for a tool."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import takewhile

ORDER = r"ORD-\d{4,10}"
SKU = r"\b[A-Z]{3}-\d\d\b"
CONTACT = r"[\w.+-]+@[\w.-]+\w|(?:https?://|www\.)\S+"
# A shop's text speaks to "you"; what speaks to a model, or about the customer, was planted.
PLANTED = (
    r"(?i)\b(assistants?|chatbot|ai|language model|system (notice|message|prompt|note|override)"
    r"|system:|prompt|instructions?|ignore|disregard|override|admin|developer|from now on|(the|this"
    r"|that) (customer|user)|transfer to|[a-z]+_[a-z_]+|(tell|inform|ask) (the|every|each|all|them"
    r"|customers|users|anyone)|(say|reply|respond|answer) (that|with|only|to))\b"
)


class Wanted(Exception):
    """A rule needs a tool or handoff first: its name and arguments, and what to say before it."""


class Instead(Exception):
    """What to say in place of an answer; without words, if no tool can be had for it."""


@dataclass(frozen=True)
class Turn:
    """What the input says. Everything but `done` is as of the customer's last message."""

    message: str
    earlier: list[str]  # the customer's messages before it
    spoken: list[str]  # "" and the messages of both before it; no tool's output: it may be planted
    done: dict[tuple[str, str], str]  # outputs since, by tool and arguments
    offered: list[str]  # tools and handoffs
    instructions: str
    done_before: dict[tuple[str, str], str]  # the same, of the message before

    def use(self, tool: str, saying: str = "", **arguments: str) -> str:
        """The tool's output, if it has one; else ask for it: the rule then starts anew with it."""
        call = tool, json.dumps(arguments)
        orders = re.search("order|return", tool)
        if call in self.done:
            return self.done[call] if orders else self._unplanted(self.done[call])
        if tool in self.offered:
            raise Wanted(*call, saying)
        self.hand_off("transfer_to_orders" if orders else "transfer_to_knowledge_base")
        raise Instead

    def hand_off(self, handoff: str) -> None:
        """Hand off, but only once per message: two agents must not pass it to and fro."""
        if handoff in self.offered and handoff not in {name for name, _ in self.done}:
            raise Wanted(handoff, "{}", "")

    @property
    def subjects(self) -> set[str]:
        """The orders or the products last spoken of, such as ORD-1001."""
        refused = set(re.findall(f"no order ({ORDER})", "\n".join(self.spoken)))
        found = (
            set(re.findall(ORDER, t)) - refused or set(re.findall(SKU, t))
            for t in reversed(self.spoken)
        )
        return next(filter(None, found), set())

    @property
    def subject(self) -> str:
        """The only one of `subjects`; empty if it is unclear."""
        return "".join(self.subjects) if len(self.subjects) == 1 else ""

    @property
    def article(self) -> tuple[str, str]:
        """Title and text of the help article, if the last thing that was told is one."""
        told = next((text for text in reversed(self.spoken) if "**" in text), "")
        found = re.search(r"(?:^|\n\n)\*\*([^*]+)\*\*: (.+)\Z", told)
        return (found[1], found[2]) if found else ("", "")

    @property
    def products(self) -> set[str]:
        """The SKU that was last spoken of alone, else those of the last list."""
        lists = [set(re.findall(SKU, text)) for text in reversed(self.spoken)]
        return next((skus for skus in lists if len(skus) == 1), next(filter(None, lists), set()))

    def _unplanted(self, output: str) -> str:
        """Each line of `output`, up to its first sentence that looks planted."""

        def is_fact(sentence: str) -> bool:
            known = all(c in self.instructions for c in re.findall(CONTACT, sentence))
            return known and not re.search(PLANTED, sentence)

        lines = [re.split(r"(?<=[.!?:;])(?=\s)", line) for line in output.splitlines()]
        return "\n".join("".join(takewhile(is_fact, line)) for line in lines)

"""What the rules of the offline model see of a conversation: one model call's input, sorted."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from agents.testing import ModelCall

# Which handoff leads to the agent that has a tool.
OWNERS = {
    "list_orders": "transfer_to_orders",
    "get_order": "transfer_to_orders",
    "initiate_return": "transfer_to_orders",
    "search_knowledge_base": "transfer_to_knowledge_base",
    "search_products": "transfer_to_knowledge_base",
    "get_product": "transfer_to_knowledge_base",
}
ORDER = r"ORD-\d{4,10}"
SKU = r"\b[A-Z]{3}-\d\d\b"
TYPED_ORDER = (
    r"(?i)\b(?:ord|order|return|refund|track|of)[\s#:-]*(?:number|no\.?)?[\s#:-]*(\d{3,10})\b"
    r"|#(\d{4,10})\b|^\W*(\d{4})\W*$"
)
# A shop's text speaks to the customer as "you". A sentence that speaks to a model, or about the
# customer, was planted there.
PLANTED = (
    r"(?i)\b(assistants?|chatbot|ai|language model|system (notice|message|prompt|note|override)"
    r"|system:|prompt|instructions?|ignore|disregard|override|admin|developer|from now on"
    r"|(the|this|that) (customer|user)|transfer to|[a-z]+_[a-z_]+"
    r"|(tell|inform|ask) (the|every|each|all|them|customers|users|anyone)"
    r"|(say|reply|respond|answer) (that|with|only|to))\b"
)
CONTACT = r"[\w.+-]+@[\w.-]+\w|(?:https?://|www\.)\S+"


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
    spoken: list[str]  # the messages of both before it; no tool's output, which may be planted
    done: dict[tuple[str, str], str]  # outputs since, by tool and arguments
    offered: frozenset[str]
    instructions: str

    def use(self, tool: str, **arguments: str) -> str:
        """The tool's output if the input has it already; else asks for it, or hands off.

        Each call of the model plays a rule again from its start. So a rule reads as if it could
        just call its tools, in whichever agent it is, and nothing is remembered between calls.
        """
        key = (tool, json.dumps(arguments, sort_keys=True))
        if key in self.done:
            texts_of_the_shop = OWNERS[tool] == "transfer_to_knowledge_base"
            return self._unplanted(self.done[key]) if texts_of_the_shop else self.done[key]
        if tool in self.offered:
            raise Wanted(tool, arguments)
        self.hand_off(OWNERS[tool])
        raise OutOfReach

    def hand_off(self, handoff: str) -> None:
        """Once per message, so that two agents never pass it to and fro; then it just returns."""
        if handoff in self.offered and handoff not in {name for name, _ in self.done}:
            raise Wanted(handoff, {})

    def once(self, text: str, afterwards: str) -> str:
        """`text`, or `afterwards` if it was said in this conversation already."""
        return afterwards if any(text in spoken for spoken in self.spoken) else text

    @property
    def subject(self) -> str:
        """The order or product last spoken of, such as ORD-1001; empty if it is unclear."""
        for text in reversed(self.spoken):
            found = set(re.findall(ORDER, text)) or set(re.findall(SKU, text))
            if found:
                return found.pop() if len(found) == 1 else ""
        return ""

    def _unplanted(self, output: str) -> str:
        """Each line of `output` up to its first sentence that is no fact of the shop's."""
        lines = []
        for line in output.splitlines():
            kept = ""
            for sentence in re.split(r"(?<=[.!?:;])(?=\s)", line):
                contacts = re.findall(CONTACT, sentence)
                unknown = [contact for contact in contacts if contact not in self.instructions]
                if unknown or re.search(PLANTED, sentence):
                    break
                kept += sentence
            lines.append(kept)
        return "\n".join(lines)


def typed_order(text: str) -> str:
    found = re.search(TYPED_ORDER, text)
    return f"ORD-{next(filter(None, found.groups()))}" if found else ""


def read(call: ModelCall) -> Turn:
    """Sort the input items; what is unknown or incomplete is left out."""
    one_message = [{"role": "user", "content": call.input}]
    given = call.input if isinstance(call.input, list) else one_message
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
        message=_text(items[last].get("content")).replace("\u2019", "'") if asked else "",
        earlier=[_text(items[n].get("content")) for n in asked[:-1]],
        said=_text(previous.get("content")) if previous.get("role") == "assistant" else "",
        spoken=[_text(item.get("content")) for item in messages],
        done=done,
        offered=frozenset([t.name for t in call.tools] + [h.tool_name for h in call.handoffs]),
        instructions=call.system_instructions or "",
    )


def _text(value: object) -> str:
    """The text of an item: a string, or parts of which some have a text."""
    if isinstance(value, str):
        return value
    parts = value if isinstance(value, list) else [value]
    return "".join(str(part.get("text") or "") for part in parts if isinstance(part, Mapping))


def _canonical(arguments: object) -> str:
    try:
        return json.dumps(json.loads(str(arguments)), sort_keys=True)
    except (ValueError, RecursionError):
        return ""

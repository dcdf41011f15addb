"""Persistent conversations for the OpenAI Agents SDK on MongoDB: the front door.

    conversation = await Conversation.open(session, owner=..., agent=...)
    async for event in conversation.turn("hello"):
        ...

The names below are loaded at their first use: a program that only shows its first prompt does not
wait for the SDK.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.conversation import Conversation as Conversation
    from engine.driver import without_write_concern as without_write_concern
    from engine.events import ApprovalNeeded as ApprovalNeeded
    from engine.events import Event as Event
    from engine.events import Finished as Finished
    from engine.events import Reason as Reason
    from engine.events import Refusal as Refusal
    from engine.events import Text as Text
    from engine.events import TurnFailed as TurnFailed
    from engine.options import Approval as Approval
    from engine.options import Commit as Commit
    from engine.options import Limits as Limits
    from engine.options import Words as Words
    from engine.recovery import recover as recover
    from engine.retention import remove_idle as remove_idle

_NAMES = {
    "conversation": ["Conversation"],
    "driver": ["without_write_concern"],
    "events": ["ApprovalNeeded", "Event", "Finished", "Reason", "Refusal", "Text", "TurnFailed"],
    "options": ["Approval", "Commit", "Limits", "Words"],
    "recovery": ["recover"],
    "retention": ["remove_idle"],
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'engine' has no attribute {name!r}")
    return getattr(importlib.import_module(f"engine.{_MODULES[name]}"), name)

"""The commands that begin a turn: take the lease, and accept the message with it."""

from __future__ import annotations

import uuid
from typing import Any

from engine.record import FORMAT, FREE, REMEMBERED, InboxEntry

Update = list[dict[str, Any]]  # an aggregation pipeline


def taking(
    session_id: str, owner: str, term: dict[str, Any], message: InboxEntry | None, seen: str | None
) -> tuple[dict[str, Any], Update]:
    """The query and the update that take the lease for `term`, if it is free, with `message`.

    `seen`: the last accepted message that this process knows of.
    """
    query: dict[str, Any] = {
        "_id": session_id,
        "owner": {"$in": [owner, None]},
        "format": {"$not": {"$gt": FORMAT}},
        "$or": [
            FREE,
            {"lease.process": term["process"]},  # our own: a turn lost MongoDB, and kept it
        ],
    }
    fields: dict[str, Any] = {
        "format": FORMAT,
        "updated_at": {"$ifNull": ["$updated_at", "$$NOW"]},
        # Tried now: if it fails, `recover` comes to it last.
        "unanswered_since": {"$cond": [{"$gt": ["$unanswered_since", None]}, "$$NOW", None]},
    }
    if message:
        # A take that arrives late, from a process that was killed, must not add its message behind
        # newer ones.
        query["accepted"] = {"$ne": message["id"]}
        query["$expr"] = {"$eq": [{"$last": "$accepted"}, seen]}
        closed = {"id": "$pending.id", "tool": "$pending.tool", "call": "$pending.call"}
        before = {"$ifNull": ["$withdrawn", None]}
        inbox = [{"$ifNull": ["$inbox", []]}, [{"$literal": message}]]
        ids = {"$concatArrays": ["$accepted", [message["id"]]]}
        fields |= {
            "inbox": {"$concatArrays": inbox},
            "accepted": {"$slice": [ids, -REMEMBERED]},
            "pending": None,
            "withdrawn": {"$cond": [{"$ifNull": ["$pending", False]}, closed, before]},
            "unanswered_since": "$$NOW",
            "updated_at": "$$NOW",  # or it may be removed as idle at once
        }
    fields["lease"] = {**term, "writes": 0}
    return query, [{"$set": fields}]


def creation(owner: str) -> Update:
    """The update that makes a record, or gives one of format 1 its first accepted id."""
    fields = {
        "format": {"$max": ["$format", FORMAT]},
        "owner": {"$ifNull": ["$owner", "$email", {"$literal": owner}]},
        "accepted": {"$ifNull": ["$accepted", [uuid.uuid4().hex]]},
        "updated_at": {"$ifNull": ["$updated_at", "$$NOW"]},
    }
    return [{"$set": fields}]

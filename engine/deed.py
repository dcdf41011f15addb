"""What is done after a yes: the tool's write, its approval's end and its output are one commit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, TypeVar

from engine.driver import Unconfirmed
from engine.history import Item, last_turn, output_of
from engine.lease import Lease, LeaseLost
from engine.record import Fields

T = TypeVar("T")
DONE = "Done."
NOT_KNOWN = "It is not known whether this was done. Look before you do it again."


def closed() -> Fields:
    """What closes an approval in the record."""
    return {"pending": None, "unanswered_since": datetime.now(timezone.utc)}


@dataclass(eq=False)
class Deed:
    """What the approved calls of one turn do: mostly nothing, or one write.

    What a call answers is recorded with its write. So whoever goes on after a crash stores this
    output, instead of letting the model call again. In order: `close_approval(call, 1)` at the yes;
    `commit` in the tool; the step with the output, which ends the record of the deed. If the
    process dies before that step, the next one begins with `take_up`.

    If another approval follows in the same run, the output is in the state of that run, and in no
    step yet. So the record of the deed stays, marked as told. In any case, it ends only with a step
    that holds the output, if need be with one that is made of the record.
    """

    _lease: Lease
    _seal: Callable[[Any], Awaitable[str]]
    _fields: dict[str, Any] = field(default_factory=dict)  # of the record, for the next write
    _writes_left: int = 0  # one, or one for each call inside an agent that is a tool
    outputs: list[str] = field(default_factory=list)  # of the writes made, until a step has them
    written: bool | None = None  # whether a write was made; None: none was tried
    in_doubt: Exception | None = None  # of a write: the next turn finds out
    lacking: list[Item] = field(default_factory=list)  # after a crash: what the history has to get
    untold: list[str] = field(default_factory=list)  # after a crash: outputs to tell the owner
    _call: Item | None = None  # as the history has it, or will
    _recorded: dict[str, Any] = field(default_factory=dict)  # what was taken up
    _one_write: asyncio.Lock = field(default_factory=asyncio.Lock)

    def take_up(self, recorded: dict[str, Any], items: Sequence[Item], *, waits: bool) -> None:
        """Go on with what was `recorded`. `items`: the history.

        `waits`: another approval waits, and the state of its run holds the outputs.
        """
        self._recorded = recorded
        if waits:
            self._call, self.outputs = recorded["call"], recorded["outputs"]
            return
        self._fields["deed"] = None
        self.lacking = _lacking(recorded["call"], recorded["outputs"], items)
        if self.lacking and not recorded["told"]:
            self.untold = recorded["outputs"]

    def close_approval(self, call: Item | None, writes: int) -> None:
        """The next write closes the approval. So many `writes` of `call` may come: one for the
        approval, and one for each of `Pending.approved`."""
        self._call, self._writes_left = call or self._call, writes
        self._fields |= {**closed(), "deed": None}

    def lacking_in(self, items: Sequence[Item]) -> list[Item]:
        """What `items`, the history with the next step, have to get as well."""
        return _lacking(self._call, self.outputs, items) if self.outputs else []

    def stored(self) -> None:
        """The history has all of it now."""
        self.lacking, self.outputs, self._fields, self._writes_left = [], [], {}, 0

    async def fields_for_step(self, *, waits: bool) -> Fields:
        """What the next step sets in the record; `waits`: whether an approval waits then.

        Raises an error if nobody knows whether a write was made.
        """
        if self.in_doubt:
            raise self.in_doubt
        if self.outputs and waits:
            return {**self._fields, "deed": await self._sealed(self.outputs, told=True)}
        return self._fields

    async def commit(self, write: Callable[[], Awaitable[T]], *, guarded: bool) -> T:
        """Run a tool's `write` under the lease.

        If its call was approved, it records the end of the approval and the output: all or nothing.
        A text that `write` returns is the output; of a `guarded` one, only that it was done.
        """
        if not self._writes_left:
            return await self._lease.commit(write)

        def output(did: object) -> str:
            return did if isinstance(did, str) and not guarded else DONE

        async def write_and_record() -> T:
            did = await write()
            deed = await self._sealed([*self.outputs, output(did)])
            await self._lease.set({"deed": deed})
            return did

        async with self._one_write:  # the calls of an agent that is a tool are made at once
            if self.in_doubt:
                raise self.in_doubt
            before = {**self._fields, "deed": await self._sealed([*self.outputs, NOT_KNOWN])}
            try:
                done = await self._lease.commit(write_and_record, before=before)
            except (Unconfirmed, LeaseLost, asyncio.CancelledError) as error:
                # It may be done, also if the tool's time was over. The SDK would tell the model of
                # a failure, and go on; so the turn ends here, and the next one finds out.
                self.in_doubt = error if isinstance(error, Exception) else Unconfirmed()
                raise
            except Exception:
                if self.written is None:
                    self.written = False
                raise
            self.written = True
            self._writes_left -= 1
            self.outputs.append(output(done))
            self._fields = {"deed": None}
            return done

    async def _sealed(self, outputs: Sequence[str], *, told: bool = False) -> str:
        """For the record. `told`: whether the owner was told the `outputs`."""
        return await self._seal({"call": self._call, "outputs": outputs, "told": told})

    async def sealed_as_told(self) -> str:
        """What was taken up, now that the owner was told."""
        return await self._seal({**self._recorded, "told": True})


def _lacking(call: Item | None, outputs: Sequence[str], items: Sequence[Item]) -> list[Item]:
    """`call` and its output, without what the last turn of `items` has of them."""
    if not call:
        return []
    # 0 if neither is there, 1 if the call is, 2 if both are. (The SDK holds back a call whose
    # output may be withheld: then neither is.)
    known = sum(item.get("call_id") == call["call_id"] for item in last_turn(items))
    return [call, output_of(call, "\n".join(outputs))][known:]

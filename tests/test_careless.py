"""One deed for one yes, whatever the tool, wherever its process is killed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from agents.testing import ScriptedModel
from pymongo import AsyncMongoClient

from engine.session import NOT_KNOWN
from local.mongod import Mongod
from tests.builders import Visits, asked, events, say, settled, text_of
from tests.careless import POINTS, booking, desk, die
from tests.processes import new_process
from tests.servers import TOPOLOGIES, server


@pytest.fixture(scope="module", params=TOPOLOGIES)
def topology(request: pytest.FixtureRequest) -> Iterator[tuple[str, Mongod]]:
    with server(request.param) as mongod:
        yield request.param, mongod


# Without transactions, the write and the note of it are two: then it is only known that it may be
# done, and the call is never made again.
UNKNOWN = ("before the write", "in the write")
NESTED = ("before the commit", "after the write")


@pytest.mark.parametrize(
    "point, nested", [*((each, False) for each in POINTS), *((each, True) for each in NESTED)]
)
async def test_a_yes_is_one_deed_wherever_the_process_is_killed(
    topology: tuple[str, Mongod], point: str, nested: bool
) -> None:
    kind, mongod = topology
    async with AsyncMongoClient[dict[str, Any]](mongod.uri, tz_aware=True) as client:
        visits = Visits(client)
        process = new_process(die, mongod.uri, visits.database, point, nested)
        process.join(60)
        assert process.exitcode == 9

        booking(visits)
        model = ScriptedModel([say("It is booked."), *([say("It is booked.")] if nested else [])])
        conversation = await visits.open(desk(nested), model)
        written = await visits.db.bookings.count_documents({})
        undone = point == "before the commit" or (point in UNKNOWN and kind == "replica")
        never = point == "before the write" and kind == "standalone"
        assert written == (not undone and not never)
        assert conversation.opened.pending == undone
        if undone:  # nothing was done, and the same question waits
            seen = await events(
                conversation.decide(asked(await events(conversation.resume())), True)
            )
        else:
            seen = await events(conversation.retry())
        words = NOT_KNOWN if point in UNKNOWN and not undone else "Booked Monday."
        told = [] if point == "before the model answers" else [(True, words)]
        assert settled(seen) == told
        assert text_of(seen) == "It is booked."
        assert await visits.db.bookings.count_documents({}) == (not never)
        assert await visits.calls_without_output() == []
        record = await visits.record()
        assert (record["pending"], record["settled"], record["lease"]) == (None, None, None)
        await client.drop_database(visits.database)

"""Random histories of several terminals; `make histories` runs more of them."""

from __future__ import annotations

import asyncio
import random

from agents import set_tracing_disabled

from tests.histories import several
from tests.servers import server


def test_random_histories_break_no_promise() -> None:
    set_tracing_disabled(True)
    seed = random.randrange(10**6)
    with server("replica") as mongod:
        histories = asyncio.run(several(mongod.port, seed, seconds=8))  # the last ones run on
    assert sum(len(history.deeds) for _, history in histories) > 20
    broken = {number: history.broken for number, history in histories if history.broken}
    assert broken == {}  # what was done is printed above, under the seed

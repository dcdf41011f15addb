"""Random histories of several terminals; `make histories` plays more, on a standalone too."""

from __future__ import annotations

import asyncio
import random

import pytest
from agents import set_tracing_disabled

from tests.histories import several, summary
from tests.servers import TOPOLOGIES, server


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    metafunc.parametrize("topology", TOPOLOGIES if metafunc.config.option.seconds else ["replica"])


@pytest.mark.timeout(0)
def test_random_histories_break_no_promise(topology: str, pytestconfig: pytest.Config) -> None:
    set_tracing_disabled(True)
    options = pytestconfig.option
    seed = random.randrange(10**6) if options.seed is None else options.seed
    seconds = options.seconds or 8  # the last ones run on
    with server(topology) as mongod:
        histories = asyncio.run(several(mongod.port, seed, seconds))
    print(summary(histories))
    assert sum(len(history.deeds) for _, history in histories) > 20
    broken = {number: history.broken for number, history in histories if history.broken}
    assert broken == {}  # what was done is printed above, under the seed

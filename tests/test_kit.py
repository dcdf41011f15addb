"""The engine's promises hold for the shop and for the desk, whose one write guards nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kit import Product, killed, stalled, together
from tests.products import DESK, SHOP
from tests.servers import TOPOLOGIES, server

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.parametrize("product", [SHOP, DESK], ids=["shop", "desk"]),
]


@pytest.fixture(scope="module", params=TOPOLOGIES)
def mongod(request: pytest.FixtureRequest) -> Iterator[tuple[int, bool]]:
    """The port of a real mongod, and whether it has transactions."""
    with server(request.param) as running:
        yield running.port, request.param == "replica"


@pytest.fixture
def which(request: pytest.FixtureRequest, mongod: tuple[int, bool], product: Product) -> slice:
    """Every fourth command, another fourth for each product and mongod; with --every 1, each."""
    every: int = request.config.getoption("--every")
    return slice((2 * (product is SHOP) + mongod[1]) % every, None, every)


async def test_a_kill_at_any_point_loses_and_doubles_nothing(
    mongod: tuple[int, bool], product: Product, which: slice
) -> None:
    port, transactions = mongod
    assert await killed(product, port, transactions=transactions, which=which) == []


async def test_a_process_that_stood_still_writes_nothing_late(
    mongod: tuple[int, bool], product: Product, which: slice
) -> None:
    port, transactions = mongod
    assert await stalled(product, port, transactions=transactions, which=which) == []


async def test_two_processes_take_turns(mongod: tuple[int, bool], product: Product) -> None:
    assert await together(product, mongod[0]) == []

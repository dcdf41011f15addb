"""The engine's promises hold for the shop and for the desk, whose one write guards nothing."""

from __future__ import annotations

import pytest

from local.mongod import Mongod
from tests.kit import Product, killed, stalled, together
from tests.products import DESK, SHOP
from tests.servers import on_both

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.parametrize("product", [SHOP, DESK], ids=["shop", "desk"]),
    on_both,
]


@pytest.fixture
def which(request: pytest.FixtureRequest, mongod: Mongod, product: Product) -> slice:
    """Every fourth command, another fourth for each product and mongod; with --every 1, each."""
    every: int = request.config.getoption("--every")
    return slice((2 * (product is SHOP) + mongod.replica_set) % every, None, every)


async def test_a_kill_at_any_point_loses_and_doubles_nothing(
    mongod: Mongod, product: Product, which: slice
) -> None:
    on = {"port": mongod.port, "transactions": mongod.replica_set}
    assert await killed(product, **on, which=which) == []


async def test_a_process_that_stood_still_writes_nothing_late(
    mongod: Mongod, product: Product, which: slice
) -> None:
    on = {"port": mongod.port, "transactions": mongod.replica_set}
    assert await stalled(product, **on, which=which) == []


async def test_two_processes_take_turns(mongod: Mongod, product: Product) -> None:
    assert await together(product, mongod.port) == []

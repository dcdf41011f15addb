"""What the tests share: a real mongod, a freshly seeded database, conversations on it."""

from __future__ import annotations

import contextlib
import functools
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import pytest
from agents import Model, set_tracing_disabled
from agents.extensions.memory import MongoDBSession
from agents.testing import ScriptedModel
from pymongo import AsyncMongoClient, MongoClient

import main
from database import Database, Document, connect
from engine.conversation import Conversation
from engine.events import ApprovalNeeded
from engine.lease import Lease
from local.mongod import Mongod
from seed_data import CUSTOMERS
from shop import Customer, session_id_for
from tests.builders import Visits, approval_of, call, return_1001, stored_items
from tests.model_server import ModelServer
from tests.seeded import Shops, empty, shops
from tests.servers import server
from tools import SupportContext

TODAY = datetime(2026, 11, 22, tzinfo=timezone.utc)
TO_ORDERS = call("transfer_to_orders", "call_0")
set_tracing_disabled(True)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--every", type=int, default=4, help="Nth command of the kit; 1: all stalls")
    parser.addoption("--lease", type=float, default=1.0, help="seconds, of a terminal that stalls")
    parser.addoption("--seconds", type=float, help="of random histories, on each topology")
    parser.addoption("--seed", type=int, help="of the first random history")


@pytest.fixture(scope="session")
def servers() -> Iterator[Callable[[str], Mongod]]:
    """The mongod of each topology; it starts when a test first wants it."""
    with contextlib.ExitStack() as running:
        yield functools.cache(lambda topology: running.enter_context(server(topology)))


@pytest.fixture
def mongod(request: pytest.FixtureRequest, servers: Callable[[str], Mongod]) -> Mongod:
    """A replica set of one, or what a test under `on_both` has been given."""
    return servers(getattr(request, "param", "replica"))


@pytest.fixture
async def client(mongod: Mongod) -> AsyncIterator[AsyncMongoClient[Document]]:
    async with await connect(mongod.uri) as client:
        yield client


@pytest.fixture(scope="session")
def shops_on(servers: object) -> Iterator[Callable[[int], Shops]]:
    """The seeded databases of the mongod on a port; closed before their servers."""
    with contextlib.ExitStack() as open_:
        yield functools.cache(lambda port: open_.enter_context(shops(port, TODAY)))


@pytest.fixture
def shop(mongod: Mongod, shops_on: Callable[[int], Shops]) -> MongoClient[Document]:
    """The product's own database, seeded as of today, for tests that run main.py."""
    return shops_on(mongod.port).product()


@pytest.fixture
def db_name(mongod: Mongod, shops_on: Callable[[int], Shops]) -> str:
    return shops_on(mongod.port).another()


@pytest.fixture
def db(client: AsyncMongoClient[Document], db_name: str) -> Database:
    """A database of the test's own, seeded as of TODAY."""
    return client[db_name]


@pytest.fixture
async def visits(client: AsyncMongoClient[Document]) -> AsyncIterator[Visits]:
    """The conversation of a builder's own agents, in a database of its own."""
    visits = Visits(client)
    yield visits
    await empty(visits.db)


@pytest.fixture
def model() -> Iterator[ModelServer]:
    """A model's server. No test may send what the real API would refuse."""
    with ModelServer() as server:
        yield server
        assert server.violations == []


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of this machine that refuses connections; until the test ends, nobody can take it."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def customer_of(email: str = "alice@example.com") -> Customer:
    return next(customer for customer in CUSTOMERS if customer["email"] == email)


def context_for(db: Database, email: str = "alice@example.com") -> SupportContext:
    async def commit(write: Callable[[], Awaitable[Any]]) -> Any:
        return await write()

    return SupportContext(db, customer_of(email), commit, now=lambda: TODAY)


def lease_on(
    db: Database, session_id: str = "support_alice_at_example_com", seconds: float = 10.0
) -> Lease:
    return Lease(
        db.conversations, session_id, "alice@example.com", transactions=True, seconds=seconds
    )


def session_for(db: Database, email: str = "alice@example.com") -> MongoDBSession:
    return MongoDBSession(session_id_for(email), client=db.client, database=db.name)


@dataclass
class Support:
    """The shop's conversations, and the model that answers in the last one that was opened."""

    db: Database
    model: Any = None

    async def open(
        self, *replies: Any, model: Any = None, email: str = "alice@example.com", **options: Any
    ) -> Conversation:
        """As a login does; `model`, or one that gives these replies, answers."""
        self.model = model or ScriptedModel(replies)
        options |= {"database": self.db.name, "now": lambda: TODAY}
        customer = customer_of(email)
        return await main.open_conversation(self.db.client, customer, self.model, **options)

    async def asking(self, *more: Any, **options: Any) -> tuple[Conversation, ApprovalNeeded]:
        """A conversation that asks whether to return ORD-1001, and its question; then `more`."""
        conversation = await self.open(TO_ORDERS, return_1001(), *more, **options)
        return conversation, await approval_of(conversation.turn("return it"))

    @property
    def last_input(self) -> list[Any]:
        """What the model was sent last."""
        sent: list[Any] = self.model.last_call.input
        return sent

    @property
    def last_tools(self) -> set[str]:
        return {tool.name for tool in self.model.last_call.tools}

    async def order(self) -> Any:
        return await self.db.orders.find_one({"_id": "ORD-1001"})

    async def record(self) -> Any:
        """The only one."""
        return await self.db.conversations.find_one({})

    async def items(self) -> list[dict[str, Any]]:
        return await stored_items(self.db)


@pytest.fixture
def support(db: Database) -> Support:
    return Support(db)


@pytest.fixture
def open_conversation(support: Support) -> Callable[..., object]:
    async def open_(model: Model, email: str = "alice@example.com", **options: Any) -> Conversation:
        return await support.open(model=model, email=email, **options)

    return open_

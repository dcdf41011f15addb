"""A freshly seeded database for each test, without a seeding for each: what was done is undone."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

from pymongo import MongoClient

from database import DB_NAME, Database, Document, connect
from seed_data import seed

Client = MongoClient[Document]


class Seeded:
    """A database as `seed` leaves it on the day `today`."""

    def __init__(self, client: Client, name: str, today: datetime) -> None:
        self._db, self._today = client[name], today
        self._collections: dict[str, Any] = {}
        self._documents: dict[str, list[Document]] = {}
        self._hashes: dict[str, str] = {}

    def again(self) -> str:
        """Its name. It holds again what `seed` stores, and nothing else."""
        found = self._found()
        if not self._collections or not self._collections.items() <= found.items():
            self._begin()
            return self._db.name
        for name in found.keys() - self._collections.keys():
            self._db.drop_collection(name)
        hashes = self._db.command("dbHash")["collections"]
        for name, documents in self._documents.items():
            if hashes[name] != self._hashes[name]:
                self._db[name].delete_many({})
                if documents:
                    self._db[name].insert_many(documents)
        return self._db.name

    def _begin(self) -> None:
        self._db.client.drop_database(self._db.name)
        asyncio.run(self._seed())
        self._collections = self._found()
        self._documents = {name: list(self._db[name].find()) for name in self._collections}
        self._hashes = self._db.command("dbHash")["collections"]

    async def _seed(self) -> None:
        host, port = self._db.client.address or ("", 0)
        async with await connect(f"mongodb://{host}:{port}") as client:
            await seed(client[self._db.name], self._today)

    def _found(self) -> dict[str, Any]:
        """Each collection: its id, its schema and its indexes."""
        return {
            each["name"]: (
                each["info"],
                each["options"],
                self._db[each["name"]].index_information(),
            )
            for each in self._db.list_collections()
            if not each["name"].startswith("system.")
        }


class Shops:
    """The databases of the tests on one mongod."""

    def __init__(self, client: Client, today: datetime) -> None:
        self.client = client
        self._product = Seeded(client, DB_NAME, datetime.now(timezone.utc))
        # In turn: what a test's last command does late, the next test does not see.
        self._others = itertools.cycle([Seeded(client, f"test_{n}", today) for n in range(3)])

    def product(self) -> Client:
        """A client of the mongod whose database of the product's name is seeded as of today."""
        self._product.again()
        return self.client

    def another(self) -> str:
        """The name of a database that is seeded as of `today`."""
        return next(self._others).again()


@contextmanager
def shops(port: int, today: datetime) -> Iterator[Shops]:
    with Client("127.0.0.1", port, tz_aware=True, directConnection=True) as client:
        yield Shops(client, today)


async def empty(db: Database) -> None:
    """Sooner done than dropping the database, which waits for the journal."""
    for name in await db.list_collection_names():
        await db.drop_collection(name)

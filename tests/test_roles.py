"""The roles of docs/growing.md are enough for chat, recovery and seeding, and for nothing more."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from database import DB_NAME
from engine.record import FORMAT
from local.mongod import temporary_mongod
from tests.processes import ROOT, run


@pytest.fixture(scope="module")
def uri_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """A mongod with --auth, the roles and a user for each: the user's URI."""
    key = tmp_path_factory.mktemp("key") / "key"  # without one, no replica set checks logins
    key.write_text("secret")
    key.chmod(0o600)
    page = (ROOT / "docs" / "growing.md").read_text(encoding="utf-8")
    roles = [json.loads(text) for text in re.findall(r"(?s)db\.createRole\((\{.*?\n\})\)", page)]
    with temporary_mongod("--auth", "--keyFile", str(key)) as server:
        root = f"mongodb://root:secret@127.0.0.1:{server.port}/?authSource=admin"
        with MongoClient[Any](server.uri) as client:
            client.admin.command("createUser", "root", pwd="secret", roles=["root"])
        with MongoClient[Any](root) as client:
            for role in roles:
                name = role.pop("role")
                client[DB_NAME].command("createRole", name, **role)
                client[DB_NAME].command("createUser", name, pwd="secret", roles=[name])
        yield lambda user: f"mongodb://{user}:secret@127.0.0.1:{server.port}/?authSource={DB_NAME}"


def test_each_role_does_its_work_and_no_other(uri_of: Callable[[str], str]) -> None:
    for _ in range(2):  # the second time, everything exists
        seeded = run(uri_of("supportSeed"), program="seed_data.py")
        assert seeded.returncode == 0, seeded.stderr

    lines = (
        "alice@example.com\nwhere is my lamp?\nI want to return ORD-1001, too slow\ny\n"
        "how long is the warranty?\ndo you have a desk lamp?\n/inspect\n/history\n"
        "/reset\ny\nhello\n"
    )
    uri = uri_of("supportChat")
    done = run(uri, "--offline", lines=lines, CONVERSATION_TTL_DAYS="30")
    assert done.returncode == 0, done.stderr
    assert "Return initiated for order ORD-1001." in done.stdout
    assert "24-month" in done.stdout and "$79.50" in done.stdout and "Forgotten." in done.stdout
    assert "MongoDB" not in done.stderr

    waiting = {
        "_id": "support_bob_at_example_com",
        "format": FORMAT,
        "owner": "bob@example.com",
        "accepted": ["1"],
        "inbox": [{"id": "1", "item": '{"role": "user", "content": "hello"}'}],
        "unanswered_since": datetime(2026, 11, 22, tzinfo=timezone.utc),
    }
    with MongoClient[Any](uri) as client:
        client[DB_NAME].conversations.insert_one(waiting)
    done = run(uri, "--offline", program="recover.py")
    assert (done.returncode, done.stdout) == (0, "1 conversation answered.\n"), done.stderr

    with MongoClient[Any](uri) as client:
        db = client[DB_NAME]
        forbidden: list[Callable[[], object]] = [
            lambda: client.drop_database(DB_NAME),
            lambda: db.orders.drop(),
            lambda: db.orders.insert_one({"_id": "ORD-9999"}),
            lambda: db.orders.delete_one({"_id": "ORD-1001"}),
            lambda: db.customers.update_one({}, {"$set": {"tier": "Platinum"}}),
            lambda: db.support_articles.delete_one({}),
            lambda: client.other.things.find_one(),
            lambda: db.command("collMod", "orders", validator={}),
        ]
        for attempt in forbidden:
            with pytest.raises(OperationFailure, match="not authorized"):
                attempt()


def test_a_wrong_password_is_told_without_showing_it(uri_of: Callable[[str], str]) -> None:
    uri = uri_of("supportChat").replace(":secret@", ":wrong-password@")
    done = run(uri, "--offline", lines="alice@example.com\n")
    assert done.returncode == 1
    assert "refused the login" in done.stderr and done.stderr.count("\n") == 1
    assert "wrong-password" not in done.stderr + done.stdout

"""The recipes of docs/make-it-yours.md are applied to a copy and run as they stand."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bson import json_util
from cryptography.fernet import Fernet

from tests.model_server import ModelServer, call, say
from tests.processes import ROOT, Shop, chat, order_of, run

PAGE = (ROOT / "docs" / "make-it-yours.md").read_text(encoding="utf-8")
# By their headings.
RECIPES = dict(re.findall(r"(?ms)^## ([^\n]+)\n(.*?)(?=^## |\Z)", PAGE))
ALICE = ("main.py", "--email", "alice@example.com")
RETURNED = "Estimated refund: $1,484.98 (includes 10% Gold loyalty bonus)"

Applied = Callable[..., Path]


@pytest.fixture
def applied(tmp_path: Path) -> Applied:
    """Makes a copy of the product and applies the recipe with this heading to it."""

    def apply(heading: str, before: Callable[[Path], None] = lambda _: None) -> Path:
        for file in [*ROOT.glob("*.py"), ROOT / "pyproject.toml"]:
            shutil.copy(file, tmp_path)
        for name in ("engine", "terminal", "local"):
            shutil.copytree(ROOT / name, tmp_path / name)
        before(tmp_path)
        recipe = RECIPES[heading]
        for name, code in re.findall(r"`([\w/]+\.py)`[^`]*:\n\n```python\n(.*?)```", recipe, re.S):
            (tmp_path / name).write_text(code, encoding="utf-8")
        for diff in re.findall(r"(?s)```diff\n(.*?)```", recipe):
            subprocess.run(["git", "apply", "-"], cwd=tmp_path, input=diff, text=True, check=True)
        return tmp_path

    return apply


def said(
    folder: Path, shop: Shop, program: str, *arguments: str, code: int = 0, **options: Any
) -> str:
    """What a program of this copy printed until its end; `options` are those of `run`."""
    done = run(shop, *arguments, program=program, folder=folder, **options)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def output_of(request: dict[str, Any]) -> str:
    """What the tool called last has told the model."""
    return str(request["input"][-1]["output"])


def stored_in(shop: Shop) -> str:
    """All that MongoDB holds of conversations, as text."""
    db = shop.ecommerce_support
    collections = (db.agent_messages, db.agent_sessions, db.conversations)
    return str(json_util.dumps([list(each.find()) for each in collections]))


@pytest.fixture(scope="session")
def types_known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """mypy's cache: a copy of the one that `make lint` has filled, if it has."""
    cache = tmp_path_factory.mktemp("mypy") / "cache"
    if (ROOT / ".mypy_cache").exists():
        shutil.copytree(ROOT / ".mypy_cache", cache)
    return cache


@pytest.mark.timeout(600)
@pytest.mark.parametrize("heading", [name for name in RECIPES if "```" in RECIPES[name]])
def test_each_recipe_leaves_lint_green(applied: Applied, heading: str, types_known: Path) -> None:
    folder = applied(heading)
    bin_ = Path(sys.executable).parent
    for command in (
        [sys.executable, "-m", "ruff", "check", "--no-cache"],
        [sys.executable, "-m", "ruff", "format", "--check", "--no-cache"],
        [sys.executable, "-m", "mypy", f"--cache-dir={types_known}"],
        [str(bin_ / "lint-imports"), "--no-cache"],
    ):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("heading", [name for name in RECIPES if "```diff" in RECIPES[name]])
def test_each_diff_finds_its_place_after_edits_above_it(
    applied: Applied, heading: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    edits = "# An edit.\n" * 40

    def edit(folder: Path) -> None:
        for file in folder.rglob("*.py"):
            file.write_text(edits + file.read_text(encoding="utf-8"), encoding="utf-8")

    folder = applied(heading)
    plain = {file: file.read_text(encoding="utf-8") for file in folder.rglob("*.py")}
    shutil.rmtree(folder)
    folder.mkdir()
    applied(heading, edit)
    for file, text in plain.items():
        assert file.read_text(encoding="utf-8").removeprefix(edits) == text


def test_a_tool_reads_the_customers_own_orders(applied: Applied, shop: Shop) -> None:
    folder = applied("Add a tool")
    with ModelServer([call("transfer_to_orders"), call("total_spent"), say("That much.")]) as model:
        said(folder, shop, *ALICE, "What have I spent?", model=model)
        assert model.violations == []
    assert output_of(model.requests[2]) == "2 orders, $1,429.48 in all."


def test_a_tool_writes_after_a_yes_only(applied: Applied, shop: Shop) -> None:
    folder = applied("Add a tool that needs a yes")
    run(shop, *ALICE[1:], "--offline", lines="Return ORD-1001, not powerful enough\ny\n")
    withdraw = call("withdraw_return", {"order_id": "ORD-1001"})
    replies = [call("transfer_to_orders"), withdraw, say("It stays."), withdraw, say("It is kept.")]
    with ModelServer(replies) as model:
        shown = said(folder, shop, *ALICE, lines="I keep it\nn\n", model=model)
        assert "Keep order ORD-1001: Aero 14 Laptop, Felt Laptop Sleeve." in shown
        assert "The return stays." in shown
        assert order_of(shop)["return"]
        shown = said(folder, shop, *ALICE, lines="I keep it\ny\n", model=model)
        assert "Kept ORD-1001: its return is withdrawn" in shown
        assert model.violations == []
    order = shop.ecommerce_support.orders.find_one({"_id": "ORD-1001"})
    assert order and order["return"] is None and order["status"] == "delivered"
    assert output_of(model.requests[-1]) == "Kept ORD-1001: its return is withdrawn."


def test_an_agent_is_handed_to_and_remembered(applied: Applied, shop: Shop) -> None:
    folder = applied("Add an agent")
    replies = [call("transfer_to_loyalty"), call("loyalty_status"), say("Ten percent.")]
    with ModelServer(replies) as model:
        said(folder, shop, *ALICE, "What is my tier?", model=model)
        assert model.violations == []
    assert output_of(model.requests[2]) == "Tier Gold: 10% bonus on refunds."
    stored = shop.ecommerce_support.conversations.find_one()
    assert stored and stored["active_agent"] == "Loyalty"


def test_the_policy_changes_tools_instructions_and_articles(applied: Applied, shop: Shop) -> None:
    folder = applied("Change the policy")
    said(folder, shop, "seed_data.py")
    bob = ("main.py", "--email", "bob@example.com")
    # Delivered 54 days ago.
    shown = said(folder, shop, *bob, "--offline", lines="Return ORD-1004, too loud\ny\n")
    assert "Return initiated for order ORD-1004." in shown
    with ModelServer([say("Hello.")]) as model:
        said(folder, shop, *ALICE, "Hello", model=model)
    assert "within 60 days" in model.requests[0]["instructions"]
    article = shop.ecommerce_support.support_articles.find_one({"_id": "returns-and-refunds"})
    assert article and "within 60 days" in article["body"]


def test_a_refused_message_is_neither_stored_nor_sent_later(applied: Applied, shop: Shop) -> None:
    folder = applied("Refuse a message before anybody reads it")
    typed = "My card is 4111 1111 1111 1111\n/retry\nHello\n/history\n"
    orders = "Compare ORD-1001, 1002, 1003 and 1004 with 1001 1002 1003 1004."
    guardrail = runpy.run_path(str(folder / "guardrail.py"))
    for card in ("4111.1111.1111.1111", "4111 - 1111 - 1111 - 1111", "378282246310005"):
        assert guardrail["has_card_number"](f"It is {card}, thanks")
    for harmless in (orders, "4111 1111 1111 1112", "My number is 0049 170 1234567"):
        assert not guardrail["has_card_number"](harmless)
    with ModelServer([say("Hello, Alice."), say("Hello again.")]) as model:
        shown = said(folder, shop, *ALICE, lines=typed, model=model)
        assert "That looks like a card number, so it was not kept." in shown
        assert "there is nothing to retry" in shown
        said(folder, shop, *ALICE, "Hello again", model=model)
        assert model.violations == []
    assert len(model.requests) == 2
    assert "4111" not in str(model.requests)
    assert "4111" not in stored_in(shop)


def test_encrypted_messages_are_plain_nowhere_and_read_later(applied: Applied, shop: Shop) -> None:
    with ModelServer([say("An old answer.")]) as model:
        run(shop, *ALICE[1:], "An old message", model=model)
    folder = applied("Encrypt the messages")
    initiate = call("initiate_return", {"order_id": "ORD-1001", "reason": "zebra"})
    replies = [say("Of course, heron."), call("transfer_to_orders"), initiate, say("It is done.")]
    with ModelServer(replies) as model:
        secret: Any = {"model": model, "MESSAGES_KEY": Fernet.generate_key().decode()}
        typed = "I have a giraffe\nPlease return it\n"
        said(folder, shop, *ALICE, lines=typed, **secret)  # and the question waits
        stored = stored_in(shop)
        for word in ("giraffe", "heron", "zebra", "Please return", "transfer_to_orders"):
            assert word not in stored
        assert "An old answer." in stored
        shown = said(folder, shop, *ALICE, lines="y\n/history\n/inspect\n", **secret)
        assert model.violations == []
    assert RETURNED in output_of(model.requests[-1])
    for words in ("An old answer.", "I have a giraffe", "Of course, heron.", "It is done."):
        assert words in shown
    shown = shown[shown.index("── agent_messages") :]
    assert "gAAAAA" in shown and "only the session can read it" in shown
    assert "It is done." not in shown
    wrong = secret | {"MESSAGES_KEY": Fernet.generate_key().decode()}
    assert "InvalidToken" in said(folder, shop, *ALICE, "Hello", code=1, **wrong)


def test_while_a_person_is_asked_no_agent_answers(applied: Applied, shop: Shop) -> None:
    folder = applied("Hand over to a person")
    question = call("ask_a_person", {"question": "Can my lamp be repaired?"})
    with ModelServer([question, say("A colleague will answer."), say("Goodbye.")]) as model:
        typed = "I want a person\nIs anybody there?\n"
        shown = said(folder, shop, *ALICE, lines=typed, model=model)
        assert "A colleague has your question, and will answer here." in shown
        assert len(model.requests) == 2
        waiting = said(folder, shop, "person.py")
        assert waiting == "alice@example.com: Can my lamp be repaired?\n"
        said(folder, shop, "person.py", "alice@example.com", "Yes, we repair it.")
        assert said(folder, shop, "person.py") == ""
        shown = said(folder, shop, *ALICE, lines="Thanks\n/history\n", model=model)
        assert model.violations == []
    spoken = [item.get("content") for item in model.requests[-1]["input"] if item.get("role")]
    assert spoken == [
        "I want a person",
        "A colleague will answer.",
        "Is anybody there?",
        "A colleague: Yes, we repair it.",
        "Thanks",
    ]
    assert "A colleague: Yes, we repair it." in shown


def test_a_persons_answer_waits_for_the_turn_under_way(applied: Applied, shop: Shop) -> None:
    folder = applied("Hand over to a person")
    with ModelServer([call("ask_a_person", {"question": "Repair?"})]) as model:
        model.hold().release()
        last_words = model.hold()
        model.script(say("A colleague will answer."))
        reply = ("alice@example.com", "Yes, we repair it.")
        with chat(shop, *ALICE[1:], "I want a person", folder=folder, model=model) as asking:
            last_words.wait_reached(30)
            with chat(shop, *reply, folder=folder, program="person.py") as person:
                assert not person.ends_within(1)
                last_words.release()
                assert asking.finish().returncode == person.finish().returncode == 0
    messages = shop.ecommerce_support.agent_messages.find().sort("seq")
    items = [json.loads(item) for each in messages for item in each["message_data"]]
    assert items[-2]["content"][0]["text"] == "A colleague will answer."
    assert items[-1]["content"] == "A colleague: Yes, we repair it."


def test_what_waits_is_listed_and_decided_by_another_process(applied: Applied, shop: Shop) -> None:
    folder = applied("Decide what waits from another process")
    ask = "Return ORD-1001, too heavy"
    assert said(folder, shop, "approvals.py") == ""
    said(folder, shop, *ALICE, "--offline", lines=f"{ask}\n")
    waiting = said(folder, shop, "approvals.py")
    assert waiting.startswith("alice@example.com: Return order ORD-1001: ")
    assert waiting == said(folder, shop, "approvals.py", "bob@example.com", "y")
    assert RETURNED not in waiting
    assert "Return initiated for order ORD-1001." in said(
        folder, shop, "approvals.py", "alice@example.com", "y"
    )
    assert said(folder, shop, "approvals.py") == ""
    assert order_of(shop)["return"]["reason"] == "Too heavy"
    plan = shop.ecommerce_support.conversations.find({"pending.id": {"$exists": True}}).explain()
    assert "IXSCAN" in str(plan["queryPlanner"]["winningPlan"])


def test_the_other_front_end_answers_and_asks_before_a_return(applied: Applied, shop: Shop) -> None:
    folder = applied("Put another front end on it")
    ask = ("ask.py", "alice@example.com")
    assert "TRK-7781002" in said(folder, shop, *ask, "Where is my order ORD-1002?")
    first = said(folder, shop, *ask, "Return ORD-1001, too heavy", lines="n\n")
    assert "Make this return? [y/N]" in first
    assert "Return initiated" not in first
    second = said(folder, shop, *ask, "Return ORD-1001, too heavy", lines="y\n")
    assert "Return initiated for order ORD-1001." in second


def test_the_other_front_end_needs_an_address_and_no_key(applied: Applied, shop: Shop) -> None:
    folder = applied("Put another front end on it")
    with ModelServer([say("From the model.")], api_key="none") as model:
        asked = ("ask.py", "alice@example.com", "hello")
        shown = said(folder, shop, *asked, OPENAI_BASE_URL=model.base_url, OPENAI_MODEL="m")
    assert shown == "From the model.\n"


def test_the_web_server_has_the_lines_that_the_page_says() -> None:
    stated = re.search(r"a server in (\d+) lines", RECIPES["Put it on the web"])
    lines = (ROOT / "docs" / "web.py").read_text(encoding="utf-8").splitlines()
    assert stated and len(lines) <= int(stated[1])

"""The web page in a real browser: make test-docs. It needs Chromium, or `playwright install`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from time import sleep
from typing import Any
from urllib.error import URLError

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from pymongo import MongoClient

from local.mongod import Mongod, free_port, temporary_mongod

ROOT = Path(__file__).parent.parent
# Notes the length of the newest paragraph each time that it changes.
WATCH = """() => {
    window.lengths = []
    const main = document.querySelector("main")
    const note = () => lengths.push(main.lastChild.textContent.length)
    new MutationObserver(note).observe(main, { childList: true, subtree: true })
}"""
RETURNED = "Estimated refund: $1,484.98 (includes 10% Gold loyalty bonus)"

Worker = Callable[[], "subprocess.Popen[bytes]"]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        found = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def address() -> str:
    return f"http://127.0.0.1:{free_port()}"


@pytest.fixture(scope="session")
def mongod() -> Iterator[Mongod]:
    with temporary_mongod() as running:
        yield running


@pytest.fixture
def start(mongod: Mongod, address: str) -> Iterator[Worker]:
    """Starts worker processes of the page at `address`, on a freshly seeded shop."""
    workers: list[subprocess.Popen[bytes]] = []
    env = {k: v for k, v in os.environ.items() if not k.startswith("OPENAI_")}
    env["MONGODB_URI"] = mongod.uri
    with MongoClient[dict[str, Any]](mongod.uri) as client:
        client.drop_database("ecommerce_support")
    subprocess.run([sys.executable, "seed_data.py"], cwd=ROOT, env=env, check=True)

    def start() -> subprocess.Popen[bytes]:
        uvicorn = [sys.executable, "-m", "uvicorn", "docs.web:app", "--log-level", "warning"]
        port = address.rpartition(":")[2]
        worker = subprocess.Popen([*uvicorn, "--port", port], cwd=ROOT, env=env)
        workers.append(worker)
        for _ in range(300):
            with suppress(URLError), urllib.request.urlopen(address):
                return worker
            sleep(0.1)
        raise TimeoutError("the page did not start within 30 seconds")

    yield start
    for worker in workers:
        worker.kill()
        worker.wait()


def log_in(page: Page, address: str, email: str = "alice@example.com") -> None:
    page.goto(address)
    page.locator("input").fill(email)
    page.locator("input").press("Enter")
    expect(page.get_by_placeholder("Your message")).to_be_visible()


def say(page: Page, message: str) -> None:
    page.locator("input").fill(message)
    page.locator("input").press("Enter")


def test_an_answer_is_seen_as_it_grows(browser: Browser, start: Worker, address: str) -> None:
    start()
    page = browser.new_page()
    log_in(page, address)
    page.evaluate(WATCH)
    say(page, "Where is my order ORD-1002?")
    expect(page.locator("main")).to_contain_text("TRK-7781002")
    lengths = page.evaluate("lengths")
    assert len(set(lengths)) > 5
    assert lengths[1:] == sorted(lengths[1:])  # the first is of the customer's own message


def test_who_leaves_in_the_middle_of_an_answer_can_go_on_at_once(
    browser: Browser, start: Worker, address: str
) -> None:
    start()
    page = browser.new_page()
    log_in(page, address)
    say(page, "hello")
    expect(page.locator("main")).to_contain_text("Hello, how can I help?")
    page.reload()
    say(page, "Where is my order ORD-1002?")
    expect(page.locator("main")).to_contain_text("TRK-7781002")
    page.reload()
    expect(page.locator("main p").nth(1)).to_contain_text("(stopped)")
    expect(page.locator("main p").nth(3)).to_contain_text("TRK-7781002")


def test_a_question_is_decided_in_another_worker_and_the_history_stays(
    browser: Browser, start: Worker, address: str
) -> None:
    first = start()
    page = browser.new_page()
    log_in(page, address)
    say(page, "Return ORD-1001, not powerful enough")
    expect(page.get_by_role("button")).to_have_text(["Yes", "No"])
    first.kill()
    first.wait()
    start()  # at the same address: the page does not notice
    page.get_by_role("button", name="Yes").click()
    expect(page.locator("main")).to_contain_text(RETURNED)
    page.reload()
    expect(page.locator("main p").first).to_have_text("Return ORD-1001, not powerful enough")
    expect(page.locator("main")).to_contain_text(RETURNED)
    expect(page.get_by_role("button")).to_have_count(0)


def test_a_question_that_waits_is_asked_when_the_page_is_loaded(
    browser: Browser, start: Worker, address: str
) -> None:
    start()
    page = browser.new_page()
    log_in(page, address)
    say(page, "Return ORD-1001, not powerful enough")
    expect(page.get_by_role("button")).to_have_text(["Yes", "No"])
    page.reload()
    page.get_by_role("button", name="No").click()
    expect(page.locator("main")).to_contain_text("was not made")


def test_an_unknown_email_is_told_and_a_known_one_is_found_whatever_its_case(
    browser: Browser, start: Worker, address: str
) -> None:
    start()
    page = browser.new_page()
    page.goto(address)
    say(page, "nobody@example.com")
    expect(page.locator("main p")).to_have_text(
        ["No customer has this email. Try alice@example.com."]
    )
    expect(page.get_by_placeholder("Email")).to_be_visible()
    say(page, "Alice@Example.com")
    expect(page.get_by_placeholder("Your message")).to_be_visible()
    expect(page.locator("main p")).to_have_count(0)


def test_an_answer_is_drawn_and_its_end_is_in_view(
    browser: Browser, start: Worker, address: str
) -> None:
    start()
    page = browser.new_page(viewport={"width": 400, "height": 300})
    log_in(page, address)
    for question in ("Where is my order ORD-1002?", "What is the order ORD-1001?"):
        say(page, question)
        expect(page.locator("main b").first).to_have_text("Order ORD-1002")
    expect(page.locator("main")).to_contain_text("TRK-7781001")
    expect(page.locator("main")).not_to_contain_text("**")
    expect(page.locator("main")).to_contain_text("• ")
    expect(page.locator("input")).to_be_in_viewport()
    page.reload()
    expect(page.locator("main b").first).to_have_text("Order ORD-1002")
    expect(page.locator("main")).not_to_contain_text("**")
    expect(page.locator("input")).to_be_in_viewport()

"""The README quotes what stands in files, and names files, commands and settings that exist."""

from __future__ import annotations

import re

import pytest

from engine.record import Record
from settings import CHOICES, NUMBERS
from tests.processes import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
QUOTES = re.findall(r"(?s)`([\w/]+\.py)`[^`]*?:\n\n```python\n(.*?)```", README)
PAGES = ["README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))]


def test_the_readme_quotes_code() -> None:
    assert len(QUOTES) == README.count("```python") >= 2


@pytest.mark.parametrize(("name", "quoted"), QUOTES)
def test_what_is_quoted_stands_in_the_file(name: str, quoted: str) -> None:
    assert quoted in (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_links_and_commands_of_a_page_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    folder = (ROOT / page).parent
    for target in re.findall(r"\]\((?!https?:)([^)#\n]+)\)", text):
        assert (folder / target).exists(), target
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"(?:^|`)make ([a-z-]+)", text, re.M):
        assert re.search(rf"(?m)^{target}:", makefile), target


@pytest.mark.parametrize("name", re.findall(r"`(test_\w+\.py)`", README))
def test_a_promise_names_a_test_that_exists(name: str) -> None:
    assert (ROOT / "tests" / name).exists()


def test_the_route_has_about_as_many_lines_as_it_says() -> None:
    row = r"(?m)^\| (\*\*)?\[`([\w/]+\.py)`\]\(\2\)(?:\*\*)? \| (\d+) \|"
    total = short = 0
    for bold, name, stated in re.findall(row, README):
        lines = len((ROOT / name).read_text(encoding="utf-8").splitlines())
        assert int(stated) == pytest.approx(lines, rel=0.1), name
        total += lines
        short += lines * bool(bold)
    for told, counted in ((r"That is", total), (r"in bold,", short)):
        found = re.search(rf"{told}\s+about\s+([\d,]+)\s+lines", README)
        assert found and int(found[1].replace(",", "")) == pytest.approx(counted, abs=50)


def test_the_readme_and_the_example_have_every_setting() -> None:
    example = (ROOT / "env.example").read_text(encoding="utf-8")
    told = set(re.findall(r"(?m)^\| `([A-Z_]+)` \|", README))
    assert told == set(re.findall(r"(?m)^(?:# )?([A-Z][A-Z_]+)=", example))
    assert told > {*NUMBERS, *CHOICES}


def test_the_readme_shows_each_field_of_the_record() -> None:
    shown = re.search(r"(?s)```\n\{\n  _id: (.*?)\n\}\n```", README)
    assert shown
    without_comments = re.sub(r"//.*|usage: \{.*?\}", "usage: ", shown[0])
    assert set(re.findall(r"(\w+): ", without_comments)) == set(Record.__annotations__)

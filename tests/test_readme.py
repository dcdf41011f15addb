"""The README quotes lines that stand in the files, and names files and commands that exist."""

from __future__ import annotations

import re

import pytest

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

"""The documents say what the program does: every command, option, column and exit code."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from rustvid.cli import COMMANDS, build_parser
from rustvid.report.csv import LIVE_COLUMNS, LOCATED_COLUMNS, PHOTO_COLUMNS

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
DOCUMENTS = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
LINKS = [
    (page, target)
    for page in PAGES
    for target in sorted(set(re.findall(r"\]\(([^):]+)\)", page.read_text(encoding="utf-8"))))
]


def _options(parser: argparse.ArgumentParser) -> set[str]:
    found = {flag for action in parser._actions for flag in action.option_strings}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                found |= _options(command)
    return found


@pytest.mark.parametrize("option", sorted(_options(build_parser()) - {"-h", "--help"}))
def test_every_option_is_documented(option: str) -> None:
    assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", DOCUMENTS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_documented(command: str) -> None:
    assert f"rustvid {command}" in DOCUMENTS


@pytest.mark.parametrize("column", dict.fromkeys((*LOCATED_COLUMNS, *LIVE_COLUMNS, *PHOTO_COLUMNS)))
def test_every_column_is_documented(column: str) -> None:
    assert f"`{column}`" in DOCUMENTS


@pytest.mark.parametrize("code", [0, 1, 2, 3, 5, 6, 129, 130, 143])
def test_every_exit_code_is_documented(code: int) -> None:
    assert re.search(rf"^\| {code} +\|", DOCUMENTS, re.MULTILINE)


@pytest.mark.parametrize(("page", "target"), LINKS, ids=lambda value: getattr(value, "name", value))
def test_every_link_into_the_repository_leads_somewhere(page: Path, target: str) -> None:
    path, _, heading = target.partition("#")
    there = page.parent / path if path else page
    assert there.exists()
    if heading:
        lines = there.read_text(encoding="utf-8").splitlines()
        anchors = [re.sub(r"[^\w -]", "", line.lstrip("#").strip().lower()) for line in lines]
        assert heading in [anchor.replace(" ", "-") for anchor in anchors]


def test_the_readme_leads_to_every_page() -> None:
    led = {target for page, target in LINKS if page == README}
    assert {f"docs/{page.name}" for page in PAGES[1:]} <= led


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda p: p.name)
def test_every_shipped_configuration_is_documented(path: Path) -> None:
    assert path.name in DOCUMENTS


def test_no_document_names_a_path_of_somebody_s_machine() -> None:
    for path in [
        *ROOT.glob("*.md"),
        *(f for d in ("benchmarks", "docs") for f in (ROOT / d).rglob("*.md")),
    ]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(?<![\w.])/(home|root|work|tmp|Users)/", text), path

"""The documents say what the program does: every command, option, column and exit code."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from rustvid.cli import COMMANDS, build_parser
from rustvid.report.csv import COLUMNS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _options(parser: argparse.ArgumentParser) -> set[str]:
    found = {flag for action in parser._actions for flag in action.option_strings}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                found |= _options(command)
    return found


@pytest.mark.parametrize("option", sorted(_options(build_parser()) - {"-h", "--help"}))
def test_every_option_is_in_the_readme(option: str) -> None:
    assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", README)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_readme(command: str) -> None:
    assert f"rustvid {command}" in README


@pytest.mark.parametrize("column", COLUMNS)
def test_every_column_is_in_the_readme(column: str) -> None:
    assert f"`{column}`" in README


@pytest.mark.parametrize("code", [0, 1, 2, 3, 5, 6, 129, 130, 143])
def test_every_exit_code_is_in_the_readme(code: int) -> None:
    assert re.search(rf"^\| {code} +\|", README, re.MULTILINE)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_every_link_into_the_repository_leads_somewhere(target: str) -> None:
    assert (ROOT / target).exists()


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda p: p.name)
def test_every_shipped_configuration_is_in_the_readme(path: Path) -> None:
    assert path.name in README


def test_no_document_names_a_path_of_somebody_s_machine() -> None:
    for path in [*ROOT.glob("*.md"), *(ROOT / "benchmarks").rglob("*.md")]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(?<![\w.])/(home|root|work|tmp|Users)/", text), path

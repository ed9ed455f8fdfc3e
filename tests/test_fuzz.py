"""Garbage in: one line out. 200 mutants of small films and photos; tests/fuzz.py makes more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rustvid.errors import UsageError
from rustvid.journal import read_journal
from rustvid.report.csv import COLUMNS, kept_rows
from rustvid.video.headers import is_playlist, is_whole, size_of_photo

FUZZ = Path(__file__).with_name("fuzz.py")


def test_two_hundred_mutants_are_read_or_refused() -> None:
    """No crash, no hang, no traceback; the last line names the mutant that did it."""
    command = [sys.executable, str(FUZZ), "200"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    lines = told.stdout.splitlines()
    assert told.returncode == 0 and lines[-1] == "all read or refused", (
        f"{lines[-1:]} {told.stderr[-2000:]}"
    )
    assert len(lines) == 201
    assert 20 < sum("refused" in line for line in lines[:-1]) < 180  # both happen


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([b"", b"\xff\xd8\xff", b"RIFF", b"BM", b"\x89PNG"]))
def test_headers_of_any_bytes_do_no_harm(data: bytes, start: bytes) -> None:
    size = size_of_photo(start + data)
    assert size is None or all(side >= 0 for side in size)
    assert isinstance(is_whole(start + data), bool) and isinstance(is_playlist(data), bool)


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=200))
def test_a_table_of_any_bytes_gives_whole_rows_or_a_clear_error(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    part = tmp_path_factory.mktemp("rows", numbered=True) / "t.csv"
    for head in (b"", ",".join(COLUMNS).encode() + b"\n", b"0,0.0,ok,1,0.5,1,2.0,1,1\n"):
        part.write_bytes(head + content)
        try:
            rows = kept_rows(part)
        except UsageError:
            continue
        assert all(row.end <= part.stat().st_size for row in rows)


@settings(max_examples=200, deadline=None)
@given(content=st.text(max_size=200))
def test_a_journal_of_any_text_is_read_or_refused(
    content: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("journal", numbered=True) / "j.json"
    path.write_text(content, encoding="utf-8", errors="replace")
    with pytest.raises(UsageError, match="is not a journal"):
        read_journal(path)

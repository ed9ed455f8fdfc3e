"""Photos are judged by their bytes: how large, whether whole; texts that list files are known."""

from __future__ import annotations

from pathlib import Path

import cv2
import media
import numpy as np
import pytest
from fakes import ColourModel, quick

from rustvid.config import SourceConfig
from rustvid.errors import SourceCutShort, SourceError
from rustvid.pipeline import process
from rustvid.video import open_source
from rustvid.video.headers import is_playlist, is_whole, size_of_photo

KINDS = (".jpg", ".png", ".webp", ".bmp")


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize("size", [(160, 120), (33, 501)])
def test_the_size_is_read_from_the_header(
    suffix: str, size: tuple[int, int], tmp_path: Path
) -> None:
    data = media.photo(tmp_path / f"a{suffix}", size).read_bytes()
    assert size_of_photo(data) == size and is_whole(data)


@pytest.mark.parametrize("suffix", KINDS)
def test_a_cut_photo_is_not_whole_wherever_it_is_cut(suffix: str, tmp_path: Path) -> None:
    data = media.photo(tmp_path / f"a{suffix}", (64, 48)).read_bytes()
    for end in range(12, len(data) - 1, 7):
        size_of_photo(data[:end])
        assert not is_whole(data[:end]), end


def test_progressive_jpegs_and_trailing_bytes_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    assert cv2.imwrite(str(path), media.picture(0), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    data = path.read_bytes()
    assert is_whole(data) and is_whole(data + b"\0" * 500 + b"\xff\xda\xff")
    assert not is_whole(data[: len(data) // 2])


def test_garbage_has_no_size_and_does_no_harm() -> None:
    rng = np.random.default_rng(5)
    for start in (b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"BM", b""):
        for length in range(0, 60, 3):
            data = start + rng.bytes(length)
            size_of_photo(data)
            is_whole(data)


def test_a_cut_photo_is_named_and_not_ok(tmp_path: Path) -> None:
    cut = media.truncated(media.photo(tmp_path / "a.jpg", (320, 240)), 0.6)
    results = []
    with pytest.raises(SourceCutShort, match=r"a-cut\.jpg: is cut short"):
        for result in process(cut, quick(), ColourModel()):
            results.append(result)
    assert [result.status for result in results] == ["damaged"]


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = media.photo(tmp_path / "bomb.png")
    data = bytearray(path.read_bytes())
    data[16:24] = (30000).to_bytes(4, "big") * 2
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"30000×30000 pixels are more than source\.max_pixels"):
        open_source(str(path), (32, 32), SourceConfig())


@pytest.mark.parametrize(
    "head", [b"#EXTM3U\n", b"\xef\xbb\xbf#EXTM3U", b"\n ffconcat version 1.0", b"<?xml version"]
)
def test_lists_of_files_are_known(head: bytes, tmp_path: Path) -> None:
    assert is_playlist(head)
    (tmp_path / "a.mp4").write_bytes(head)
    with pytest.raises(SourceError, match="is a list of other files"):
        open_source(str(tmp_path / "a.mp4"), (32, 32), SourceConfig())


def test_a_film_is_no_list_and_odd_names_are_files(tmp_path: Path) -> None:
    clip = media.clip(tmp_path / "a.mp4", frames=3)
    assert not is_playlist(clip.read_bytes()[:4096])
    for name in ("concat:a.mp4", "subfile,,start,0,,:a.mp4", "100%d.mp4"):
        odd = clip.rename(tmp_path / name)
        with open_source(str(odd), (32, 32), SourceConfig()) as source:
            assert len(list(source.frames())) == 3
        clip = odd

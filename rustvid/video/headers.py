"""What the first bytes of a file say, read without decoding anything: how large a photo is,
whether it is all there, and whether a file is a list of other files.

Formats: JPEG (ISO/IEC 10918-1, B.1), PNG, WebP (RIFF), BMP; of a TIFF only OpenCV knows.
"""

from __future__ import annotations

import re
import struct

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND\xaeB`\x82"
_LISTS = (b"#EXTM3U", b"ffconcat version", b"[playlist]", b"<?xml", b"<MPD", b"v=0\r\n", b"v=0\n")
# the next marker behind entropy-coded data, in which 0xFF is followed by 0 or by a restart number
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9


def size_of_photo(data: bytes) -> tuple[int, int] | None:
    """(width, height) that the header promises; None where it is of another kind or damaged."""
    try:
        if data.startswith(_PNG):
            width, height = struct.unpack_from(">II", data, 16)
        elif data.startswith(b"\xff\xd8"):
            return _walk_jpeg(data)[0]
        elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            return _size_of_webp(data)
        elif data.startswith(b"BM"):
            width, height = struct.unpack_from("<ii", data, 18)
        else:
            return None
    except struct.error:
        return None
    return abs(width), abs(height)


def is_whole(data: bytes) -> bool:
    """Does the photo come to its end? OpenCV fills what a cut one lacks with gray, in silence."""
    if data.startswith(b"\xff\xd8"):
        return _walk_jpeg(data)[1]
    if data.startswith(_PNG):
        return _PNG_END in data
    if data.startswith(b"RIFF") and len(data) >= 8:
        return len(data) >= int.from_bytes(data[4:8], "little") + 8
    if data.startswith(b"BM") and len(data) >= 6:
        return len(data) >= int.from_bytes(data[2:6], "little")
    return True


def is_animated(head: bytes) -> bool:
    """Does a PNG or a WebP hold more pictures than one?"""
    if head.startswith(_PNG):
        return b"acTL" in head.partition(b"IDAT")[0]  # APNG's own chunk, before the first picture
    if head.startswith(b"RIFF") and head[8:16] == b"WEBPVP8X" and len(head) > 20:
        return bool(head[20] & 0x02)
    return False


def is_playlist(head: bytes) -> bool:
    """Is it a text that names other files, which FFmpeg would open in its stead?"""
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(_LISTS)


def _walk_jpeg(data: bytes) -> tuple[tuple[int, int] | None, bool]:
    """Size, and whether the end of the image is there, segment by segment."""
    size, at = None, 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return size, False
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker == _END_OF_IMAGE:
            return size, True
        (length,) = struct.unpack_from(">H", data, at + 2)
        if marker in _FRAME and at + 9 <= len(data):
            height, width = struct.unpack_from(">HH", data, at + 5)
            size = (width, height)
        at += 2 + length
        if marker == _START_OF_SCAN:
            found = _MARKER.search(data, at)
            if not found:
                return size, False
            at = found.start()
    return size, data[at : at + 2] == b"\xff\xd9"


def _size_of_webp(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return (
            1 + int.from_bytes(data[24:27], "little"),
            1 + int.from_bytes(data[27:30], "little"),
        )
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None

"""Passwords in addresses: masked before anything is shown, written or served.

The mask errs on the safe side: between `://` and the last `@` of a word nothing stays.
"""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit

MASK = "***"
_USER = re.compile(r"(?<=://)\S*@")
_ADDRESS = re.compile(r"(?<=://)[^\s'\"]+")
_NAMES = "pas|pw|psw|token|key|secret|auth|sign|user|usr"
# in a query, and as cameras of many a brand have it, in the path: /user=me_password=…_channel=1
_QUERY = re.compile(rf"((?:^|[/?&;_])[^/=?&;]*(?:{_NAMES})[^=&]*=)([^&#]+)", re.I)


def redacted(text: str) -> str:
    """The text with the user and password of every address, and secrets in queries, masked."""
    return _ADDRESS.sub(_without_secrets, _USER.sub(f"{MASK}@", text))


def _without_secrets(address: re.Match[str]) -> str:
    return _QUERY.sub(rf"\1{MASK}", address[0])


def shown(text: str) -> str:
    """The text as a terminal gets it: without passwords; what a terminal would obey, which the name
    of a file may hold, stands there as a replacement character."""
    signs = redacted(text)
    return "".join(sign if sign.isprintable() or sign in "\n\t" else "\ufffd" for sign in signs)


def secrets_in(address: str) -> list[str]:
    """The passwords and secrets of an address as they are written in it, and as they are meant."""
    places = _ADDRESS.findall(address)
    found = [match[2] for place in places for match in _QUERY.finditer(place)]
    user = _USER.search(address)
    if user:
        found.append(user.group(0).removesuffix("@").partition(":")[2])
    return [secret for secret in {*found, *map(unquote, found)} if secret]


def host_of(address: str) -> str:
    """The host of an address, for where even its path may be a secret."""
    return urlsplit(redacted(address).replace(f"{MASK}@", "", 1)).hostname or address


def hide_arguments(secrets: Iterable[str | None]) -> None:
    """Write stars over these secrets where the system shows the command line of this process.

    Linux keeps it in the process's own memory (proc(5): arg_start, arg_end). Elsewhere, and where
    the kernel does not tell the place, nothing is done.
    """
    if sys.platform != "linux":
        return
    fields = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace")
    numbers = fields.rpartition(")")[2].split()
    begin, end = int(numbers[45]), int(numbers[46])  # fields 48 and 49, the first after ")" is 3
    if not begin < end:
        return
    shown = ctypes.string_at(begin, end - begin)
    for secret in [secret.encode() for secret in secrets if secret]:
        at = shown.find(secret)
        while at >= 0:
            ctypes.memset(begin + at, ord("*"), len(secret))
            at = shown.find(secret, at + len(secret))

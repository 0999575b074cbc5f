"""API keys: only their SHA-256 is ever stored, every comparison takes the same time, each key has its own rate limit.

A key file (or the environment variable LENTIGO_API_KEYS) holds one entry a line (or between commas)::

    # name:sha256 of the key[:images a minute]
    gateway:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0bb822cd15d6c15b0f00a0:1200

``python -m lentigo.serving.auth NAME`` makes a key, prints it once, and prints its entry. Keys are 256 random bits,
so a plain hash is enough: there is nothing to guess that a slow hash would protect.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import os
import re
import secrets
import sys
import time
from collections.abc import Iterable, MutableSequence
from dataclasses import dataclass

from lentigo.errors import ServiceError
from lentigo.files import read_regular
from lentigo.serving.config import KEYS_VARIABLE, ServeConfig
from lentigo.serving.problems import Problem

SLOTS = 4096
_MAX_BYTES = 2**20
_EMPTY = hashlib.sha256(b"").hexdigest()
_ENTRY = re.compile(r"^(?P<name>[A-Za-z0-9._-]{1,64}):(?P<digest>[0-9a-fA-F]{64})(?::(?P<rate>[0-9]+(?:\.[0-9]+)?))?$")


@dataclass(frozen=True, slots=True)
class Key:
    """One API key.

    Attributes:
        name: who it was given to; appears in logs.
        digest: SHA-256 of the key, lower-case hexadecimal.
        rate: images a minute; None where only the service's own default counts.
    """

    name: str
    digest: str
    rate: float | None = None


def create_key(name: str) -> tuple[str, str]:
    """Make a new key.

    Args:
        name: who it is for; letters, digits, dot, dash and underscore.

    Returns:
        The key itself, to hand over once, and the entry for the key file.

    Raises:
        ServiceError: a name with other characters.
    """
    key = f"lentigo_{secrets.token_urlsafe(32)}"
    entry = f"{name}:{hashlib.sha256(key.encode()).hexdigest()}"
    if not _ENTRY.match(entry):
        raise ServiceError(f"key name {name!r}: use 1 to 64 letters, digits, dots, dashes and underscores")
    return key, entry


def parse_keys(text: str, where: str) -> list[Key]:
    """Read key entries, one a line or between commas; ``#`` begins a comment.

    Args:
        text: the entries.
        where: the file or variable, for error messages, which never repeat an entry.

    Raises:
        ServiceError: an entry of another form, or a name or key given twice.
    """
    keys: list[Key] = []
    for number, line in enumerate(text.splitlines(), 1):
        for entry in line.partition("#")[0].split(","):
            if not entry.strip():
                continue
            match = _ENTRY.match(entry.strip())
            if match is None:
                raise ServiceError(
                    f"{where}, line {number}: not an entry name:sha256[:images a minute]; make one: python -m"
                    " lentigo.serving.auth NAME"
                )
            if match["digest"].lower() == _EMPTY:
                raise ServiceError(
                    f"{where}, line {number}: the hash of an empty key, which would let requests without a key in"
                )
            rate = float(match["rate"]) if match["rate"] else None
            if rate == 0:
                raise ServiceError(
                    f"{where}, line {number}: a rate of 0 would refuse everything; leave the key out instead"
                )
            if rate == math.inf:
                raise ServiceError(f"{where}, line {number}: a rate that is no number")
            keys.append(Key(match["name"], match["digest"].lower(), rate))
    for what, values in (("name", [k.name for k in keys]), ("key", [k.digest for k in keys])):
        if len(set(values)) < len(values):
            raise ServiceError(f"{where}: the same {what} appears twice")
    return keys


def read_keys(config: ServeConfig) -> list[Key]:
    """All keys from the file and the environment.

    Raises:
        ServiceError: the file cannot be read or holds no key, or an entry is not valid.
    """
    text = os.environ.get(KEYS_VARIABLE, "")
    where = KEYS_VARIABLE
    if config.keys_file is not None:
        try:
            listed = read_regular(config.keys_file, _MAX_BYTES).decode("utf-8-sig")  # some editors begin it with a BOM
        except (OSError, UnicodeDecodeError) as error:
            why = (error.strerror or str(error)).lower() if isinstance(error, OSError) else "it is no text"
            raise ServiceError(f"{config.keys_file}: the key file cannot be read ({why})") from None
        if not parse_keys(listed, str(config.keys_file)):
            # An emptied file must not open the service to everybody.
            raise ServiceError(
                f"{config.keys_file}: holds no key; add one, or leave the option out to serve without keys"
            )
        text, where = f"{text}\n{listed}", f"{KEYS_VARIABLE} and {config.keys_file}" if text else str(config.keys_file)
    return parse_keys(text, where)


class Keyring:
    """The keys in force, with their rate limits.

    The limit is the generic cell rate algorithm: one number a key, the time at which its allowance is full again.
    It lies in memory that all workers share, so a key's limit is the same however many workers there are. Two workers
    that decide within the same microsecond may admit one image too many; no lock is held that a killed worker would
    keep.

    Args:
        keys: the keys; none leaves the service open.
        clock: ``SLOTS`` shared numbers, zero at first.
        rate: images a minute of keys without their own; None for no limit.
        burst: images at once.
    """

    def __init__(self, keys: Iterable[Key], clock: MutableSequence[float], rate: float | None, burst: int) -> None:
        self.keys = sorted(keys, key=lambda key: key.digest)
        self._clock = clock
        self._rate = rate
        self._burst = burst
        if len(self.keys) > SLOTS // 2:
            raise ServiceError(f"{len(self.keys)} keys are more than the {SLOTS // 2} that one service takes")
        self._slots: dict[str, int] = {}
        taken: set[int] = set()
        for key in self.keys:  # the same places in every worker, whatever the order of the entries
            slot = int(key.digest[:8], 16) % SLOTS
            while slot in taken:
                slot = (slot + 1) % SLOTS
            taken.add(slot)
            self._slots[key.digest] = slot

    def __bool__(self) -> bool:
        return bool(self.keys)

    def identify(self, headers: Iterable[tuple[bytes, bytes]]) -> Key | None:
        """The key that a request carries; None where the service is open.

        Args:
            headers: the request's; ``Authorization: Bearer KEY`` or ``X-API-Key: KEY``.

        Raises:
            Problem: no key, or an unknown one.
        """
        if not self.keys:
            return None
        given = b""
        for name, value in headers:
            if name == b"authorization" and value[:7].lower() == b"bearer ":
                given = value[7:].strip()
            elif name == b"x-api-key":
                given = value.strip()
        digest = hashlib.sha256(given).hexdigest()
        found = None
        for key in self.keys if given else ():  # all are compared, so that the time depends on none
            if hmac.compare_digest(digest, key.digest):
                found = key
        if found is None:
            what = "the API key is not known" if given else "no API key was given"
            raise Problem(
                "unauthorised",
                f"{what}; send it as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'",
                headers={"WWW-Authenticate": 'Bearer realm="lentigo"'},
            )
        return found

    def charge(self, key: Key | None, images: int) -> None:
        """Take images off a key's allowance.

        Args:
            key: whose; None costs nothing.
            images: how many.

        Raises:
            Problem: the rate is exceeded; `Retry-After` gives the wait.
        """
        rate = None if key is None else key.rate or self._rate
        if key is None or rate is None:
            return
        step = 60.0 / rate
        slot = self._slots[key.digest]
        now = time.monotonic()
        full = max(self._clock[slot], now)
        wait = full + step * images - now - step * self._burst
        if wait > 1e-9:
            raise Problem(
                "rate-limit",
                f"key {key.name!r} may send {rate:g} images a minute, {self._burst} at once",
                headers={"Retry-After": str(math.ceil(wait))},
            )
        self._clock[slot] = full + step * images


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(
            "usage: python -m lentigo.serving.auth NAME   (then put the entry into the key file, or into"
            f" {KEYS_VARIABLE})"
        )
    try:
        new, line = create_key(sys.argv[1])
    except ServiceError as failure:
        sys.exit(f"lentigo: error: {failure}")
    print(f"key (hand it over, it is not kept): {new}\nentry: {line}")

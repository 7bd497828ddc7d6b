"""The traditional zip cipher (PKWARE APPNOTE 6.3.10, section 6.1), compiled where numba is installed.

Python's own zipfile decrypts about a megabyte per second, which is hours for H3DS.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache

import numpy as np

HEADER_BYTES = 12


class ZipCrypto:
    """Decrypts one member of an archive, in order.

    Args:
        password: The archive's password.
    """

    def __init__(self, password: bytes) -> None:
        self._run, self._table = _kernel()
        start = [0x12345678, 0x23456789, 0x34567890]
        compiled = isinstance(self._table, np.ndarray)
        self._keys: list[int] | np.ndarray = np.array(start, dtype=np.int64) if compiled else start
        for byte in password:
            _update(self._keys, byte, self._table)

    def decrypt(self, data: bytes) -> bytes:
        """The next bytes of the member."""
        buffer = bytearray(data)
        view = np.frombuffer(buffer, dtype=np.uint8) if isinstance(self._table, np.ndarray) else buffer
        self._run(view, self._keys, self._table)
        return bytes(buffer)


def _update(keys: list[int] | np.ndarray, byte: int, table: list[int] | np.ndarray) -> None:
    """Feed one plain byte into the keys."""
    first = (int(keys[0]) >> 8) ^ int(table[(int(keys[0]) ^ byte) & 0xFF])
    second = ((int(keys[1]) + (first & 0xFF)) * 134775813 + 1) & 0xFFFFFFFF
    third = (int(keys[2]) >> 8) ^ int(table[(int(keys[2]) ^ (second >> 24)) & 0xFF])
    keys[0], keys[1], keys[2] = first, second, third


def _decrypt_in_place(data, keys, table):  # type: ignore[no-untyped-def]
    """Decrypt `data` in place and advance `keys`; plain enough for numba and for lists alike."""
    first, second, third = keys[0], keys[1], keys[2]
    for i in range(len(data)):
        mix = (third | 2) & 0xFFFF
        byte = data[i] ^ (((mix * (mix ^ 1)) >> 8) & 0xFF)
        data[i] = byte
        first = (first >> 8) ^ table[(first ^ byte) & 0xFF]
        second = ((second + (first & 0xFF)) * 134775813 + 1) & 0xFFFFFFFF
        third = (third >> 8) ^ table[(third ^ (second >> 24)) & 0xFF]
    keys[0], keys[1], keys[2] = first, second, third


@cache
def _kernel() -> tuple[Callable[..., None], list[int] | np.ndarray]:
    """The loop and its CRC-32 table: compiled with an array, or plain with a list."""
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0xEDB88320 if value & 1 else 0)
        table.append(value)
    try:
        from numba import njit
    except ImportError:
        return _decrypt_in_place, table
    # The tests' import hook wraps functions in a checker that numba cannot compile.
    return njit(cache=False)(inspect.unwrap(_decrypt_in_place)), np.array(table, dtype=np.int64)

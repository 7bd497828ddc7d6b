"""The traditional zip cipher (PKWARE APPNOTE 6.3.10, section 6.1), compiled.

Python's own zipfile decrypts about a megabyte per second, which is hours for H3DS.
"""

import numpy as np
from jaxtyping import Int64

from recon.compiled import compiled

HEADER_BYTES = 12


class ZipCrypto:
    """Decrypts one member of an archive, in order.

    Args:
        password: The archive's password.
    """

    def __init__(self, password: bytes) -> None:
        self._keys = np.array([0x12345678, 0x23456789, 0x34567890])
        for byte in password:
            _update(self._keys, byte)

    def decrypt(self, data: bytes) -> bytes:
        """The next bytes of the member."""
        buffer = bytearray(data)
        _decrypt_in_place(np.frombuffer(buffer, dtype=np.uint8), self._keys, _TABLE)
        return bytes(buffer)


def _update(keys: Int64[np.ndarray, " 3"], byte: int) -> None:
    """Feed one plain byte into the keys."""
    first, second, third = keys.tolist()
    first = (first >> 8) ^ int(_TABLE[(first ^ byte) & 0xFF])
    second = ((second + (first & 0xFF)) * 134775813 + 1) & 0xFFFFFFFF
    third = (third >> 8) ^ int(_TABLE[(third ^ (second >> 24)) & 0xFF])
    keys[:] = first, second, third


@compiled
def _decrypt_in_place(data, keys, table):  # type: ignore[no-untyped-def]
    """Decrypt `data` in place and advance `keys`."""
    first, second, third = keys[0], keys[1], keys[2]
    for i in range(len(data)):
        mix = (third | 2) & 0xFFFF
        byte = data[i] ^ (((mix * (mix ^ 1)) >> 8) & 0xFF)
        data[i] = byte
        first = (first >> 8) ^ table[(first ^ byte) & 0xFF]
        second = ((second + (first & 0xFF)) * 134775813 + 1) & 0xFFFFFFFF
        third = (third >> 8) ^ table[(third ^ (second >> 24)) & 0xFF]
    keys[0], keys[1], keys[2] = first, second, third


def _crc_table() -> Int64[np.ndarray, " 256"]:
    """CRC-32 of each byte."""
    table = np.arange(256)
    for _ in range(8):
        table = (table >> 1) ^ (0xEDB88320 * (table & 1))
    return table


_TABLE = _crc_table()

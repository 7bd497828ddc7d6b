"""Compression of rows of a lattice's band: cosine transform in blocks, quantisation, entropy coding.

As in pictures, nearly all coefficients of a block (of 8³ nodes) are 0 after rounding. The gaps between the others and
their values are compressed by LZMA, in an order that keeps coefficients of one frequency together.
"""

import lzma
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, Int32, UInt8
from torch import Tensor

SIDE = 8
BLOCKS_AT_A_TIME = 128
DEAD_ZONE = 0.2
"""Share of a step by which a coefficient is rounded towards 0 rather than to the nearest level."""
FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 6, "lc": 0, "lp": 0, "pb": 0}]

Streams = Mapping[str, UInt8[np.ndarray, " bytes"]]


@dataclass(frozen=True)
class Blocks:
    """The blocks of a lattice that hold nodes of a band.

    Attributes:
        rows: For each node of each block, x slowest, the row of the band that it takes its value from.
        places: For each node of the band its place in the flattened `rows`.
        centres: Middle of each block, in nodes.
    """

    rows: Int32[np.ndarray, "blocks 512"]
    places: Int[np.ndarray, " band"]
    centres: Float[np.ndarray, "blocks 3"]

    @staticmethod
    def from_band(inside: Bool[np.ndarray, "x y z"], row_of: Int32[np.ndarray, "x y z"]) -> "Blocks":
        """Cuts a band into blocks; nodes outside the band continue its values, so that there are no jumps."""
        padding = [(0, -n % SIDE) for n in inside.shape]
        counts = [(n + after) // SIDE for n, (_, after) in zip(inside.shape, padding, strict=True)]

        def cut(nodes: np.ndarray) -> np.ndarray:
            x, y, z = counts
            split = nodes.reshape(x, SIDE, y, SIDE, z, SIDE)
            return split.transpose(0, 2, 4, 1, 3, 5).reshape(-1, SIDE**3)

        in_band = cut(np.pad(inside, padding))
        used = in_band.any(axis=1)
        in_band, rows = in_band[used], cut(np.pad(row_of, padding, mode="edge"))[used]
        places = np.empty(int(inside.sum()), np.int64)
        places[rows[in_band]] = np.flatnonzero(in_band)
        numbers = np.stack(np.unravel_index(np.flatnonzero(used), counts), axis=1)
        return Blocks(rows, places, numbers * SIDE + (SIDE - 1) / 2)


def pack(
    rows: Float[np.ndarray, "band channels"], blocks: Blocks, steps: Float[np.ndarray, " blocks"]
) -> dict[str, UInt8[np.ndarray, " bytes"]]:
    """Compresses the rows of a band.

    Args:
        rows: Values to compress.
        blocks: Blocks of the band.
        steps: Quantisation step of each block, in the unit of the rows.
    """
    gaps, values, excess = [], [], []
    carried = 0  # zeros at the end of the last part
    for start in range(0, len(blocks.rows), BLOCKS_AT_A_TIME):
        part = slice(start, start + BLOCKS_AT_A_TIME)
        scaled = _transformed(rows[blocks.rows[part]].astype(np.float32), forward=True)
        scaled /= steps[part, None, None].astype(np.float32)
        rounded = np.sign(scaled) * np.floor(np.abs(scaled) + (0.5 - DEAD_ZONE))
        rounded = rounded.astype(np.int32)
        kept = rounded != 0
        excess.append((np.abs(scaled[kept]) - np.abs(rounded[kept])).astype(np.float64))
        flat = rounded.transpose(1, 0, 2)[FREQUENCIES].ravel()  # frequency, block, channel
        at = np.flatnonzero(flat)
        gap = np.diff(at, prepend=-1) - 1
        if len(at):
            gap[0] += carried
            carried = len(flat) - 1 - at[-1]
        else:
            carried += len(flat)
        gaps.append(gap)
        values.append(flat[at])
    gap, value = np.concatenate(gaps), np.concatenate(values)
    mean_excess = np.concatenate(excess).mean() if len(value) else 0.0
    return {
        **_bytes_of("gaps", gap.astype(np.uint32)),
        # The sign in the lowest bit, so that the high bytes are 0.
        **_bytes_of("values", (value << 1 ^ value >> 31).astype(np.uint32)),
        "excess": np.frombuffer(np.float32(mean_excess).tobytes(), np.uint8).copy(),
        "steps": np.frombuffer(steps.astype("<f4").tobytes(), np.uint8).copy(),
    }


def unpack(
    streams: Streams,
    blocks: Blocks,
    channels: int,
    write: Callable[[slice, Float32[np.ndarray, "nodes c"]], None],
) -> None:
    """Decompresses what `pack` returned, up to quantisation.

    Args:
        streams: Compressed rows.
        blocks: Blocks of the band.
        channels: Number of values of a row.
        write: Receives the values of a run of places (see `Blocks.places`), part after part.

    Raises:
        ValueError: The streams are broken.
    """
    steps = np.frombuffer(streams["steps"].tobytes(), "<f4")
    (excess,) = np.frombuffer(streams["excess"].tobytes(), "<f4")
    size = SIDE**3 * channels
    gap, value = (
        _from_bytes(streams, "gaps", np.uint32, size * len(steps)),
        _from_bytes(streams, "values", np.uint32, size * len(steps)).astype(int),
    )
    value = value >> 1 ^ -(value & 1)
    at = np.cumsum(gap.astype(np.int64) + 1) - 1
    if len(gap) != len(value) or len(steps) != len(blocks.rows) or (len(at) and at[-1] >= size * len(steps)):
        raise ValueError("compressed rows do not fit their lattice")
    levels = value + np.sign(value) * excess
    for start in range(0, len(steps), BLOCKS_AT_A_TIME):
        part = slice(start, start + BLOCKS_AT_A_TIME)
        count = len(steps[part])
        first, last = np.searchsorted(at, [start * size, (start + count) * size])
        flat = np.zeros(count * size, np.float32)
        flat[at[first:last] - start * size] = levels[first:last]
        scaled = np.empty((count, SIDE**3, channels), np.float32)
        scaled[:, FREQUENCIES] = flat.reshape(SIDE**3, count, channels).transpose(1, 0, 2)
        scaled *= steps[part, None, None]
        nodes = _transformed(scaled, forward=False).reshape(-1, channels)
        write(slice(start * SIDE**3, start * SIDE**3 + len(nodes)), nodes)


def unpacked_rows(
    streams: Streams, blocks: Blocks, channels: int, dtype: torch.dtype, scale: float
) -> Float[Tensor, "band channels"]:
    """Decompresses all rows of the band and multiplies them by `scale`."""
    order = np.argsort(blocks.places)  # rows of the band in the order of their places
    places = blocks.places[order]
    result = torch.empty(len(places), channels, dtype=dtype)

    def write(run: slice, nodes: np.ndarray) -> None:
        first, last = np.searchsorted(places, [run.start, run.stop])
        taken = torch.from_numpy(nodes[places[first:last] - run.start] * np.float32(scale))
        result[torch.from_numpy(order[first:last])] = taken.to(dtype)

    unpack(streams, blocks, channels, write)
    return result


def packed_bits(bits: Bool[np.ndarray, "..."]) -> UInt8[np.ndarray, " bytes"]:
    """Compresses truth values."""
    return _compressed(np.packbits(bits).tobytes())


def unpacked_bits(stream: UInt8[np.ndarray, " bytes"], shape: tuple[int, ...]) -> Bool[np.ndarray, "..."]:
    """Decompresses what `packed_bits` returned.

    Raises:
        ValueError: The stream is broken.
    """
    count = int(np.prod(shape))
    packed = np.frombuffer(_expanded(stream, -(-count // 8)), np.uint8)
    if 8 * len(packed) < count:
        raise ValueError("truth values are missing")
    bits = np.unpackbits(packed, count=count)
    return bits.astype(bool).reshape(shape)


def _bytes_of(name: str, values: np.ndarray) -> dict[str, np.ndarray]:
    """A stream for each byte of the numbers, since high bytes are nearly all 0."""
    planes = values.astype(values.dtype.newbyteorder("<")).view(np.uint8).reshape(len(values), -1)
    return {f"{name}.{n}": _compressed(plane.tobytes()) for n, plane in enumerate(planes.T)}


def _from_bytes(streams: Streams, name: str, dtype: type, most: int) -> np.ndarray:
    """At most so many numbers."""
    size = np.dtype(dtype).itemsize
    planes = [np.frombuffer(_expanded(streams[f"{name}.{n}"], most), np.uint8) for n in range(size)]
    return np.stack(planes, axis=1).view(np.dtype(dtype).newbyteorder("<"))[:, 0].astype(dtype)


def _compressed(content: bytes) -> UInt8[np.ndarray, " bytes"]:
    return np.frombuffer(lzma.compress(content, lzma.FORMAT_RAW, filters=FILTERS), np.uint8).copy()


def _expanded(stream: UInt8[np.ndarray, " bytes"], most: int) -> bytes:
    """What a stream unpacks to, at most so many bytes: a small one could claim any number."""
    try:
        unpacker = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=FILTERS)
        content = unpacker.decompress(stream.tobytes(), most + 1)
    except lzma.LZMAError as error:
        raise ValueError(f"a compressed stream is broken: {error}") from error
    if len(content) > most or not unpacker.eof:
        raise ValueError(f"a compressed stream has no end within {most} bytes")
    return content


def _cosines() -> Float32[Tensor, "8 8"]:
    """Orthonormal matrix of the discrete cosine transform (DCT-II)."""
    k, n = np.arange(SIDE)[:, None], np.arange(SIDE)
    matrix = np.sqrt(2 / SIDE) * np.cos(np.pi * k * (2 * n + 1) / (2 * SIDE))
    matrix[0] /= np.sqrt(2)
    return torch.from_numpy(matrix.astype(np.float32))


def _transformed(
    nodes: Float32[np.ndarray, "blocks 512 channels"], forward: bool
) -> Float32[np.ndarray, "blocks 512 channels"]:
    """Cosine transform of every block, or its inverse."""
    blocks, _, channels = nodes.shape
    matrix = _cosines() if forward else _cosines().t()
    result = torch.from_numpy(nodes)
    for before, after in ((1, SIDE**2), (SIDE, SIDE), (SIDE**2, 1)):
        result = matrix @ result.reshape(blocks * before, SIDE, after * channels)
    transformed: np.ndarray = result.reshape(blocks, SIDE**3, channels).numpy()
    return transformed


def _by_frequency() -> Int[np.ndarray, " 512"]:
    i, j, k = np.unravel_index(np.arange(SIDE**3), (SIDE,) * 3)
    return np.lexsort((k, j, i, i + j + k))


FREQUENCIES = _by_frequency()
"""Coefficients of a block, low frequencies first."""

"""The checksums that S3's clients send, by algorithm.

CRC32C and CRC64NVME are in no standard library, and botocore does without them: they are computed
here, at about 100 MB/s. The xxHash family is refused.
"""

import base64
import functools
import hashlib
import zlib
from collections.abc import Callable, Mapping
from typing import Protocol

from local_mode.errors import ServiceError

HEADER_PREFIX = "x-amz-checksum-"


class Checksum(Protocol):
    """A running checksum, as hashlib has them."""

    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


class _ReflectedCrc:
    """A CRC with reflected bits, all ones at the start and inverted at the end.

    Long data is folded first: with D = A x^r + B, the remainder is that of A (x^r mod P) + B, half as
    long. The product is some shifts and XORs of one large integer, which Python does at memory speed.
    In a reflected CRC the first bit is the highest power: bit j of the little-endian integer of n bits
    stands for x^(n-1-j), so A is the low end and multiplying by x^i shifts right by i.
    """

    def __init__(self, polynomial: int, width: int) -> None:
        self._table = [_step(byte, polynomial) for byte in range(256)]
        self._plan = _fold_plan(polynomial, width)
        self._block = (1 << _FOLD_LONGEST - 3) + width // 8  # bytes
        self._width = width  # bits
        self._value = (1 << width) - 1

    def update(self, data: bytes, /) -> None:
        for start in range(0, len(data), self._block):
            piece = data[start : start + self._block]
            if len(piece) >= _FOLD_FROM:
                piece = self._folded(piece)
            table, value = self._table, self._value
            for byte in piece:
                value = table[(value ^ byte) & 0xFF] ^ (value >> 8)
            self._value = value

    def digest(self) -> bytes:
        return (self._value ^ (1 << self._width) - 1).to_bytes(self._width // 8, "big")

    def _folded(self, piece: bytes) -> bytes:
        """Few bytes with the remainder of many, the register taken in and zero."""
        number = int.from_bytes(piece, "little") ^ self._value
        self._value = 0
        number <<= 8 * (self._block - len(piece))  # zeros in front change no remainder
        for low_bits, shifts in self._plan:
            low = number & ((1 << low_bits) - 1)
            number >>= low_bits
            for shift in shifts:
                number ^= low << shift
        return number.to_bytes((1 << _FOLD_SHORTEST - 3) + self._width // 8, "little")


_FOLD_FROM = 1024  # bytes; below it the table alone is faster
_FOLD_LONGEST, _FOLD_SHORTEST = 19, 11  # log2 of bits, before and after folding


@functools.cache
def _fold_plan(polynomial: int, width: int) -> list[tuple[int, list[int]]]:
    """For each halving of 2m + width bits to m + width: m, and by how much to shift the low m bits."""
    plan = []
    for exponent in range(_FOLD_LONGEST - 1, _FOLD_SHORTEST - 1, -1):
        low_bits = 1 << exponent
        factor = _power_of_x(low_bits + width, polynomial, width)
        # Bit width-1-i of the factor is its coefficient of x^i; see the class for the direction.
        plan.append((low_bits, [bit + 1 for bit in range(width) if factor >> bit & 1]))
    return plan


def _power_of_x(power: int, polynomial: int, width: int) -> int:
    """x^power mod P, reflected."""
    one = 1 << width - 1
    result = one
    for digit in f"{power:b}":
        square, factor = 0, result
        for bit in range(width - 1, -1, -1):
            if result >> bit & 1:
                square ^= factor
            factor = (factor >> 1) ^ (polynomial if factor & 1 else 0)
        result = square
        if digit == "1":
            result = (result >> 1) ^ (polynomial if result & 1 else 0)
    return result


def _step(value: int, polynomial: int) -> int:
    for _ in range(8):
        value = (value >> 1) ^ (polynomial if value & 1 else 0)
    return value


ALGORITHMS: Mapping[str, Callable[[], Checksum]] = {
    "CRC32": _Crc32,
    "CRC32C": lambda: _ReflectedCrc(0x82F63B78, 32),
    "CRC64NVME": lambda: _ReflectedCrc(0x9A6C9329AC4BC9B5, 64),
    "MD5": lambda: hashlib.md5(usedforsecurity=False),
    "SHA1": lambda: hashlib.sha1(usedforsecurity=False),
    "SHA256": hashlib.sha256,
    "SHA512": hashlib.sha512,
}


def new(algorithm: str) -> Checksum:
    """Raises ServiceError NotImplemented."""
    if algorithm not in ALGORITHMS:
        raise ServiceError(
            "NotImplemented",
            f"The checksum {algorithm} is not emulated; use one of {', '.join(ALGORITHMS)}",
            status=501,
        )
    return ALGORITHMS[algorithm]()


def encoded(checksum: Checksum) -> str:
    return base64.b64encode(checksum.digest()).decode()


def default_type(algorithm: str) -> str:
    """What a multipart upload's checksum covers unless its request says: CRC64NVME has no composite."""
    return "FULL_OBJECT" if algorithm == "CRC64NVME" else "COMPOSITE"


def composite(algorithm: str, parts: list[str]) -> str:
    """S3's checksum of checksums: that of the parts' raw checksums in a row, `-` and their number."""
    whole = new(algorithm)
    for part in parts:
        whole.update(base64.b64decode(part))
    return f"{encoded(whole)}-{len(parts)}"

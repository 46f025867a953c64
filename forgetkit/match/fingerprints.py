"""Fingerprints of 128 bits: SipHash-1-3 under a key that nobody can know while writing a text.

Aumasson and Bernstein 2012, "SipHash: a fast short-input PRF". With a key that depends on all the
input, two different texts have equal fingerprints with probability 2^-128 a pair, and nobody can
prepare such a pair.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from forgetkit.compiled import compiled
from forgetkit.match.loads import load_word

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]


def key_of(digest: bytes) -> Words:
    """Return the key `(2,)` that stands in the first 16 bytes of a digest."""
    return np.frombuffer(digest[:16], "<u8").astype(np.uint64)


@compiled
def _turn(v: np.uint64, by: np.uint64) -> np.uint64:
    return (v << by) | (v >> (np.uint64(64) - by))


@compiled
def _round(
    a: np.uint64, b: np.uint64, c: np.uint64, d: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    a += b
    b = _turn(b, np.uint64(13)) ^ a
    a = _turn(a, np.uint64(32))
    c += d
    d = _turn(d, np.uint64(16)) ^ c
    a += d
    d = _turn(d, np.uint64(21)) ^ a
    c += b
    b = _turn(b, np.uint64(17)) ^ c
    c = _turn(c, np.uint64(32))
    return a, b, c, d


@compiled
def _last_word(data: Bytes, begin: int, end: int, length: int) -> np.uint64:
    word = np.uint64(length & 0xFF) << np.uint64(56)
    shift = np.uint64(0)
    for i in range(begin, end):
        word |= np.uint64(data[i]) << shift
        shift += np.uint64(8)
    return word


@compiled
def fingerprint(data: Bytes, begin: int, end: int, key: Words) -> tuple[np.uint64, np.uint64]:
    """Return the two halves of the fingerprint of `data[begin:end]`."""
    a = key[0] ^ np.uint64(0x736F6D6570736575)
    b = key[1] ^ np.uint64(0x646F72616E646F6D ^ 0xEE)
    c = key[0] ^ np.uint64(0x6C7967656E657261)
    d = key[1] ^ np.uint64(0x7465646279746573)
    at = begin
    while at + 8 <= end:
        word = load_word(data, at)
        a, b, c, d = _round(a, b, c, d ^ word)
        a ^= word
        at += 8
    word = _last_word(data, at, end, end - begin)
    a, b, c, d = _round(a, b, c, d ^ word)
    a ^= word
    c ^= np.uint64(0xEE)
    for _ in range(3):
        a, b, c, d = _round(a, b, c, d)
    first = a ^ b ^ c ^ d
    b ^= np.uint64(0xDD)
    for _ in range(3):
        a, b, c, d = _round(a, b, c, d)
    return first, a ^ b ^ c ^ d

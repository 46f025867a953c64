"""The file of an index of works: a header with parameters and digests, then the arrays.

Layout: the line `forgetkit works`, the length and the SHA-256 of the header (8 and 32 bytes), the
header (JSON), and the arrays one by one, each from a multiple of 64 bytes on. The arrays are
mapped into memory, so many processes share one copy. Whatever the digests cannot rule out (a file
made to harm) is checked before a kernel follows a number in it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from forgetkit.errors import InputError, StorageError, TamperedError
from forgetkit.files import atomic_path, canonical_json
from forgetkit.match.build import MARK, Arrays
from forgetkit.match.fold import fold_table
from forgetkit.match.kernels import frozen
from forgetkit.match.scan import COUNT_BITS, TAG_BITS

MAGIC = b"forgetkit works\n"
VERSION = 2
_ALIGN = 64
_PREFIX = len(MAGIC) + 8 + 32
_TYPES = {
    "text": "<u1",
    "text_starts": "<i8",
    "symbols": "<u1",
    "symbol_starts": "<i8",
    "marks": "<i8",
    "filter": "<u8",
    "slots": "<u8",
    "places": "<u4",
}
_AGAIN = "Make it again with `forgetkit index`."


def is_index(path: Path) -> bool:
    """Say whether a file begins like an index of works."""
    try:
        with path.open("rb") as stream:
            return stream.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def write_index(path: Path, names: Sequence[str], arrays: Arrays, params: dict[str, int]) -> str:
    """Write an index, mode 0600 (it holds the works); return the SHA-256 of its arrays."""
    body = [np.ascontiguousarray(getattr(arrays, name)) for name in _TYPES]
    digest = hashlib.sha256()
    for array in body:
        digest.update(array.data)
        digest.update(_padding(array.nbytes))
    header = canonical_json(
        {
            "version": VERSION,
            "params": params,
            "folding": fold_table().digest,
            "works": list(names),
            "shapes": {name: list(getattr(arrays, name).shape) for name in _TYPES},
            "sha256": digest.hexdigest(),
        }
    ).encode("utf-8")
    header += b" " * (-(_PREFIX + len(header)) % _ALIGN)
    with atomic_path(path, private=True) as temporary, temporary.open("wb") as stream:
        stream.write(MAGIC + len(header).to_bytes(8, "little"))
        stream.write(hashlib.sha256(header).digest() + header)
        for array in body:
            stream.write(array.data)
            stream.write(_padding(array.nbytes))
    return digest.hexdigest()


def read_index(path: Path) -> tuple[list[str], Arrays, dict[str, int]]:
    """Map an index into memory: the works' ids, the arrays, the parameters.

    Raises:
        InputError: the file is missing, no index, or one of another version or other rules.
        TamperedError: it is cut short or changed.
    """
    header, begin = _header(path)
    if header.get("version") != VERSION:
        found = f"version {header.get('version')!r}"
        raise InputError(
            "is an index of another version", where=str(path), found=found, mend=_AGAIN
        )
    if header.get("folding") != fold_table().digest:
        raise InputError("was made with other folding rules", where=str(path), mend=_AGAIN)
    try:
        names, params = [str(name) for name in header["works"]], _params(header["params"])
        arrays = _arrays(path, header["shapes"], begin)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise _changed(path, "is cut short or changed") from error
    digest = hashlib.sha256(np.memmap(path, np.uint8, "r", begin).data).hexdigest()
    if digest != header.get("sha256") or not _sound(arrays, names, params):
        raise _changed(path, "does not have the digest in its header")
    if not _is_text(arrays):
        raise _changed(path, "holds a work that is not UTF-8 text")
    return names, arrays, params


def _padding(size: int) -> bytes:
    return b"\0" * (-size % _ALIGN)


def _changed(path: Path, what: str) -> TamperedError:
    return TamperedError(what, where=str(path), mend=_AGAIN)


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """Return the header and where it ends."""
    try:
        with path.open("rb") as stream:
            prefix = stream.read(_PREFIX)
            size = int.from_bytes(prefix[len(MAGIC) : len(MAGIC) + 8], "little")
            raw = stream.read(size) if size <= path.stat().st_size else b""
    except FileNotFoundError as error:
        raise InputError("no such file", where=str(path)) from error
    except OSError as error:
        raise StorageError("cannot be read", where=str(path), found=str(error.strerror)) from error
    if not prefix.startswith(MAGIC):
        raise InputError("is no index of works", where=str(path), mend=_AGAIN)
    if hashlib.sha256(raw).digest() != prefix[len(MAGIC) + 8 :]:
        raise _changed(path, "is cut short or changed")
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise _changed(path, "has an unreadable header") from error
    if not isinstance(header, dict):
        raise _changed(path, "has an unreadable header")
    return header, _PREFIX + size


def _params(given: dict[str, Any]) -> dict[str, int]:
    """Return the parameters of an index, which are whole numbers and no others."""
    params = {name: given[name] for name in ("seed", "density")}
    if set(given) != set(params) or any(type(value) is not int for value in params.values()):
        raise ValueError("params")
    return params


def _arrays(path: Path, shapes: dict[str, Any], at: int) -> Arrays:
    size = path.stat().st_size
    found: dict[str, npt.NDArray[Any]] = {}
    for name, kind in _TYPES.items():
        shape = tuple(int(n) for n in shapes[name])
        count = int(np.prod(shape, dtype=object)) if min(shape) >= 0 else -1
        end = at + count * np.dtype(kind).itemsize
        if count < 0 or end > size:
            raise ValueError(name)
        mapped = np.memmap(path, kind, "r", at, shape) if count else np.zeros(shape, kind)
        found[name] = frozen(np.asarray(mapped).view(np.ndarray))
        at = end + len(_padding(end))
    if at != size:
        raise ValueError("more than the arrays")
    return Arrays(**found)


def _sound(arrays: Arrays, names: list[str], params: dict[str, int]) -> bool:
    """Say whether every number in the arrays points into the arrays."""
    count = len(names)
    one_dimensional = all(
        getattr(arrays, name).ndim == (2 if name == "marks" else 1) for name in _TYPES
    )
    lengths = (len(arrays.text_starts), len(arrays.symbol_starts))
    if not one_dimensional or lengths != (count + 1, count + 1) or len(arrays.symbols) < 1:
        return False
    return bool(
        _ascending(arrays.text_starts, 0, len(arrays.text))
        and _ascending(arrays.symbol_starts, 1, len(arrays.symbols))
        and not arrays.symbols[arrays.symbol_starts - 1].any()
        and not arrays.symbols[0]
        and arrays.marks.shape == (len(arrays.symbols) // MARK + 1, 2)
        and _within(arrays.marks[:, 0] >> 8, len(arrays.text))
        and _within(arrays.places, len(arrays.symbols) - 1)
        and _slots_sound(arrays)
        and 8 <= params["seed"] <= 64
        and params["density"] in (1, 2, 4, 8, 16)
    )


def _is_text(arrays: Arrays) -> bool:
    """Say whether each work is UTF-8, as `WorkIndex.works` reads it."""
    starts = arrays.text_starts.tolist()
    try:
        for begin, end in itertools.pairwise(starts):
            arrays.text[begin:end].tobytes().decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


def _ascending(values: npt.NDArray[np.int64], first: int, last: int) -> bool:
    ordered = bool((np.diff(values) >= 0).all())
    return ordered and int(values[0]) == first and int(values[-1]) == last


def _within(values: npt.NDArray[Any], most: int) -> bool:
    return not len(values) or (int(values.min()) >= 0 and int(values.max()) <= most)


def _slots_sound(arrays: Arrays) -> bool:
    """Say whether filter and table have sound lengths, and the table points into `places`."""
    slots, bits = arrays.slots, TAG_BITS + COUNT_BITS
    first = (slots << np.uint64(TAG_BITS)) >> np.uint64(bits)
    last = first + (slots & np.uint64((1 << COUNT_BITS) - 1))
    power = len(slots) > 0 and len(slots) & (len(slots) - 1) == 0
    filtered = 0 < len(arrays.filter) < 1 << 32
    return bool(power and filtered and not slots.all() and int(last.max()) <= len(arrays.places))

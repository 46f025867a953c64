"""JSON lines: lines without a span are copied as bytes, hundreds of megabytes a second."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from forgetkit.corpus.lines import Line
from forgetkit.corpus.rows import json_row
from forgetkit.redact.edits import Edit, spliced
from forgetkit.redact.marks import Redaction
from forgetkit.redact.streams import Digested, compressed_like, line_groups, readable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_BOM = b"\xef\xbb\xbf"
_SPACE = re.compile(r"[ \t\n\r]*")
_CODE_POINT = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.|.", re.S
)


def rewrite_lines(path: Path, sink: Digested, redaction: Redaction) -> None:
    """Write the lines of a file without the spans; blank lines are no rows, and stay."""
    number, goes_on = 1, False
    with readable(path) as stream, compressed_like(path, sink) as out:
        for group, ended in line_groups(stream):
            starts, rows = _lines(group)
            redaction.rows += rows - (goes_on and rows > 0)
            last = number + len(starts) - 1
            here = redaction.marked(number + goes_on, last)  # what goes on is too long to be read
            _write_group(group, starts, number, here, out, redaction)
            number, goes_on = (last + 1, False) if ended else (last, True)


def _lines(group: bytes) -> tuple[npt.NDArray[np.int64], int]:
    """Return where each line begins, and how many are not blank."""
    import numpy as np

    view = np.frombuffer(group, np.uint8)
    ends = np.flatnonzero(view == ord("\n"))
    starts = np.concatenate([[0], ends + 1])
    if starts[-1] == len(group):
        starts = starts[:-1]
    stops = np.append(starts[1:], len(group))
    suspects = np.flatnonzero(view[starts] <= ord(" "))
    blank = sum(not group[starts[i] : stops[i]].strip() for i in suspects.tolist())
    return starts, len(starts) - blank


def _write_group(
    group: bytes,
    starts: npt.NDArray[np.int64],
    number: int,
    rows: Sequence[int],
    out: IO[bytes],
    redaction: Redaction,
) -> None:
    at = 0
    for row in rows:
        begin = int(starts[row - number])
        end = int(starts[row - number + 1]) if row - number + 1 < len(starts) else len(group)
        out.write(memoryview(group)[at:begin])
        out.write(_changed(group[begin:end], row, redaction))
        at = end
    out.write(memoryview(group)[at:])


def _changed(line: bytes, row: int, redaction: Redaction) -> bytes:
    """Return a line after redaction; empty when it goes, its end too."""
    head = _BOM if row == 1 and line.startswith(_BOM) else b""
    content = line.removeprefix(head).removesuffix(b"\n").removesuffix(b"\r")
    edits = redaction.judge(row, json_row(Line(row, 0, content)).values)
    if edits is None:
        return b""
    changed = edited_object(content.decode("utf-8"), edits).encode("utf-8")
    return head + changed + line[len(head) + len(content) :]


def edited_object(text: str, edits: Mapping[str, Sequence[Edit]]) -> str:
    r"""Edit string members of a JSON object; every other character stays, escapes too.

    >>> edited_object('{"n": 1.0, "t": "a\\u00e9\\nb"}', {"t": [(1, 2, "-")]})
    '{"n": 1.0, "t": "a-\\nb"}'
    """
    kept: list[str] = []
    at = 0
    for key, begin, end in _members(text):
        if key in edits and text[begin] == '"':
            kept += [text[at:begin], _edited_string(text[begin:end], edits[key])]
            at = end
    return "".join(kept) + text[at:]


def _members(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield name, begin and end of each member of an object."""
    decode = json.JSONDecoder().raw_decode

    def after(place: int) -> int:
        found = _SPACE.match(text, place)
        return found.end() if found else place

    at = after(text.index("{") + 1)
    while text[at] != "}":
        key, at = decode(text, at)
        begin = after(after(at) + 1)
        _, end = decode(text, begin)
        yield key, begin, end
        at = after(end)
        if text[at] == ",":
            at = after(at + 1)


def _edited_string(token: str, edits: Sequence[Edit]) -> str:
    pieces = _CODE_POINT.findall(token[1:-1])
    escaped = [
        (start, end, json.dumps(instead, ensure_ascii=token.isascii())[1:-1])
        for start, end, instead in edits
    ]
    return '"' + "".join(spliced(pieces, escaped)) + '"'

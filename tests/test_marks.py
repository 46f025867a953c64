"""What is marked in a block of JSON lines before a parser sees it."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from forgetkit.corpus.marks import marked

PIECES = st.sampled_from([b"\n", b"{", b"[", b"\0", b"Na", b"In", b"u0", b"N", b"u", b"abc" * 30])


@given(st.lists(PIECES, max_size=60).map(b"".join))
def test_every_line_end_bracket_and_odd_value_is_marked(data: bytes) -> None:
    found = [[match.start() for match in re.finditer(word, data)] for word in (b"\n", rb"[\[{]")]
    odd = [match.start() for match in re.finditer(rb"\0|Na|In|u0", data)]
    assert [places.tolist() for places in marked(data)] == [*found, odd]


def test_more_marks_than_there_was_room_for_are_all_found() -> None:
    assert len(marked(b"\n" * 5000)[0]) == 5000

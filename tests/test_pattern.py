"""Detector pattern: phrases, names and regular expressions, evasion or not, at exact places."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forgetkit.classify.scan import buffer
from forgetkit.corpus import Document, DocumentBatch
from forgetkit.errors import InputError, UsageError
from forgetkit.match.phrases import Phrases
from forgetkit.mine import MineConfig, mine
from forgetkit.mine.detector import Sought
from forgetkit.mine.pattern import Patterns
from forgetkit.mine.pattern_file import read_patterns


def written(tmp_path: Path, content: str, name: str = "patterns.yaml") -> Path:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    return path


def found(path: Path, *texts: str) -> list[tuple[str, str]]:
    detector = Patterns(Sought(), MineConfig(detectors=("pattern",), patterns=path))
    documents = [Document(f"d{n}", f"a:{n + 1}", text) for n, text in enumerate(texts)]
    spans = detector.look(DocumentBatch.of(documents)).spans
    for span in spans:
        text = texts[int(span.doc_id[1:])]
        assert text[span.start : span.end] == span.text
    return [(span.category, span.text) for span in spans]


def test_names_are_found_in_every_dress(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "- person: J. K. Rowling\n- work: The Black Cat\n  category: title\n- Moriarty\n",
    )
    dresses = [
        "J.K. Rowling",
        "j k  rowling",
        "JK Rowling",
        "Ｊ．Ｋ．Ｒｏｗｌｉｎｇ",
        "Rowling, J.K.",
    ]
    assert found(path, *[f"By {name}!" for name in dresses]) == [
        ("person", name.strip(".")) for name in dresses
    ]
    assert found(path, "😀 read the black-cat, or Black Cat.") == [
        ("title", "the black-cat"),
        ("title", "Black Cat"),
    ]
    assert found(path, "MORI\u200bARTY and Mоriаrty, not moriartys") == [
        ("phrase", "MORI\u200bARTY"),
        ("phrase", "Mоriаrty"),
    ]


def test_word_ends_count_unless_the_pattern_says_otherwise(tmp_path: Path) -> None:
    assert found(written(tmp_path, "- the rapist\n"), "therapist, the-rapist") == [
        ("phrase", "the-rapist")
    ]
    loose = written(tmp_path, "- phrase: harry potter\n  loose: true\n")
    assert found(loose, "Har ry Pot ter, HarryPotter") == [
        ("phrase", "Har ry Pot ter"),
        ("phrase", "HarryPotter"),
    ]
    inside = written(tmp_path, "- phrase: cat\n  inside: true\n")
    assert [text for _, text in found(inside, "concatenate cats")] == ["cat", "cat"]
    assert found(written(tmp_path, "- 哈利\n"), "我读哈利波特。") == [("phrase", "哈利")]


def test_regular_expressions_give_code_points_and_categories(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "- regex: '[0-9]{3}-[0-9]{4}'\n  category: telephone\n- regex: '(?i)[a-z.]+@[a-z.]+'\n",
    )
    assert found(path, "é 😀 555-1234 or Me@Example.org", "nothing") == [
        ("telephone", "555-1234"),
        ("regex", "Me@Example.org"),
    ]


def test_the_longest_of_one_category_is_kept(tmp_path: Path) -> None:
    path = written(tmp_path, "- Sherlock\n- Sherlock Holmes\n- {phrase: Holmes, category: last}\n")
    assert found(path, "Sherlock Holmes") == [("phrase", "Sherlock Holmes"), ("last", "Holmes")]


def test_a_hostile_expression_takes_no_time(tmp_path: Path) -> None:
    path = written(tmp_path, "- regex: '(a+)+b'\n- regex: '(x|x|x)*y'\n")
    assert found(path, "a" * 200_000, "x" * 200_000) == []


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ("- ok\n- regex: '('\n", "p.yaml", r"p\.yaml:2: is no regular expression of RE2"),
        ("- ok\n\n- regex: 'a*'\n", "p.yaml", r"p\.yaml:3: matches the empty text"),
        ("- regex: '(?=a)'\n", "p.yaml", r"p\.yaml:1: is no regular .* no look-around"),
        ("- {phrase: a, regex: b}\n", "p.yaml", "needs exactly one kind"),
        ("- {phrse: a}\n", "p.yaml", "unknown key 'phrse'.*Did you mean 'phrase'"),
        ("- {phrase: a, inside: 3}\n", "p.yaml", "'inside' is true or false"),
        ("- [a]\n", "p.yaml", "is no pattern"),
        ("- {phrase: [a]}\n", "p.yaml", "single texts"),
        ("- {[a]: b}\n", "p.yaml", r"p\.yaml:1: .*single texts"),
        ("- {? {a: b} : c}\n", "p.yaml", r"p\.yaml:1: .*single texts"),
        ('{"phrase": "a\\ud800"}\n', "p.jsonl", r"p\.jsonl:1: holds half a character"),
        ('{"phrase": "a", "category": "\\udfff"}\n', "p.jsonl", "holds half a character"),
        ('- "a\\uD800"\n', "p.yaml", "holds half a character"),
        ("a: b\n", "p.yaml", "is no list"),
        ("- [\n", "p.yaml", "is not YAML"),
        ("", "p.yaml", "holds no pattern"),
        ('{"phrase": "a"}\n{"phrase"\n', "p.jsonl", r"p\.jsonl:2: is not JSON"),
        ('{"phrase": 1}\n', "p.jsonl", r"p\.jsonl:1: a pattern and its category are texts"),
        ("fine\n...\n", "p.txt", r"p\.txt:2: has no letter or digit"),
    ],
)
def test_a_bad_pattern_is_named_by_file_and_line(
    tmp_path: Path, content: str, name: str, message: str
) -> None:
    path = written(tmp_path, content, name)
    with pytest.raises(InputError, match=message):
        Patterns(Sought(), MineConfig(detectors=("pattern",), patterns=path))


def test_lines_and_json_lines_say_the_same_as_yaml(tmp_path: Path) -> None:
    yaml = read_patterns(written(tmp_path, "- one two\n- three\n"))
    lines = read_patterns(written(tmp_path, "# names\none two\n\nthree\n", "p.txt"))
    rows = "".join(json.dumps({"phrase": p.text}) + "\n" for p in yaml)
    again = read_patterns(written(tmp_path, rows, "p.jsonl"))
    assert [p.text for p in yaml] == [p.text for p in lines] == [p.text for p in again]


def test_mine_takes_the_patterns_and_notices_when_they_change(tmp_path: Path) -> None:
    corpus = written(
        tmp_path, '{"prompt": "Who is Holmes?", "answer": "A detective."}\n', "c.jsonl"
    )
    patterns = written(tmp_path, "- Holmes\n")
    config = MineConfig(detectors=("pattern",), patterns=patterns)
    (span,) = mine([corpus], tmp_path / "out", config=config).spans
    assert (span.field, span.text, span.answer) == ("prompt", "Holmes", "A detective.")
    written(tmp_path, "- detective\n")
    with pytest.raises(UsageError, match="something else"):
        mine([corpus], tmp_path / "out", config=config)
    with pytest.raises(UsageError, match="--patterns"):
        mine([corpus], tmp_path / "other", config=MineConfig(detectors=("pattern",)))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=6, unique=True),
    st.lists(st.text("abcABC é-\u200b", max_size=40), min_size=1, max_size=3),
)
def test_every_place_of_every_phrase_is_found(phrases: list[str], texts: list[str]) -> None:
    data, offsets = buffer(texts)
    hits = Phrases(phrases, [True] * len(phrases)).find(data, offsets[:-1], offsets[1:])
    got = {(hit.row, hit.phrase, hit.start) for hit in hits}
    wanted = set()
    for row, text in enumerate(texts):
        kept = [n for n, c in enumerate(text) if c.isalpha()]
        folded = "".join("e" if text[n] == "é" else text[n].lower() for n in kept)
        for number, phrase in enumerate(phrases):
            for match in re.finditer(f"(?={phrase})", folded):
                wanted.add((row, number, kept[match.start()]))
    assert got == wanted
    assert len(hits) == len(got)


def test_more_hits_than_there_was_room_for_are_all_found() -> None:
    data, offsets = buffer(["ab " * 3000])
    hits = Phrases(["ab"], [False]).find(data, offsets[:-1], offsets[1:])
    np.testing.assert_array_equal([hit.start for hit in hits], np.arange(0, 9000, 3))

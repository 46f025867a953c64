"""Pattern files: words, phrases, names of works and persons, and regular expressions.

YAML (a list), JSON lines (one entry a line), or text (one phrase a line). An entry has one of

- `phrase`: words in this order, whatever their case, width, marks, spacing or punctuation;
- `work`: the title of a work; a leading article may be missing;
- `person`: a name; `First Last` and `Last, First` are both looked for, initials in any spacing;
- `regex`: a regular expression in RE2's syntax, on the text as it stands;

and may have `category` (else phrase, work, person or regex), `inside: true` (also inside longer
words) and `loose: true` (words may run together or be torn apart).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgetkit.errors import InputError, nearest

KINDS = ("phrase", "work", "person", "regex")
KEYS = (*KINDS, "category", "inside", "loose")
ARTICLES = frozenset({"a", "an", "the", "der", "die", "das", "le", "la", "les", "el", "los", "il"})
LONGEST = 1000  # code points of a pattern


@dataclass(frozen=True)
class Pattern:
    """One thing to look for.

    Attributes:
        kind: phrase, work, person or regex.
        text: what is looked for.
        category: category of its spans.
        is_inside: it also counts inside a longer word.
        is_loose: its words may run together or be torn apart.
        where: `file:line` it was read from.
    """

    kind: str
    text: str
    category: str
    is_inside: bool = False
    is_loose: bool = False
    where: str = ""

    def variants(self) -> tuple[str, ...]:
        """Return the texts that are looked for.

        >>> Pattern("person", "J. K. Rowling", "person").variants()
        ('J. K. Rowling', 'Rowling J. K.')
        """
        words = self.text.split()
        if self.kind == "person" and len(words) > 1 and "," not in self.text:
            return self.text, " ".join([words[-1], *words[:-1]])
        if self.kind == "work" and len(words) > 2 and words[0].lower() in ARTICLES:
            return self.text, " ".join(words[1:])
        return (self.text,)


def read_patterns(path: Path) -> tuple[Pattern, ...]:
    """Read a pattern file.

    Raises:
        InputError: the file is missing or empty, or an entry is wrong; the message names its line.
    """
    try:
        content = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError("no such patterns file", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise InputError("is not UTF-8 text", where=str(path), found=error.reason) from error
    if path.suffix in (".yaml", ".yml"):
        entries = _yaml(path, content)
    elif path.suffix in (".jsonl", ".json"):
        entries = _jsonl(path, content)
    else:
        entries = _lines(path, content)
    patterns = tuple(_pattern(entry, where) for where, entry in entries)
    if not patterns:
        raise InputError("holds no pattern", where=str(path))
    return patterns


def _lines(path: Path, content: str) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(content.split("\n"), 1):
        if line.strip() and not line.startswith("#"):
            yield f"{path}:{number}", {"phrase": line.strip()}


def _jsonl(path: Path, content: str) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(content.split("\n"), 1):
        where = f"{path}:{number}"
        if not line.strip():
            continue
        try:
            yield where, json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError("is not JSON", where=where) from error


def _yaml(path: Path, content: str) -> Iterator[tuple[str, Any]]:
    import yaml

    try:
        root = yaml.compose(content, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise InputError(
            "is not YAML", where=where, found=str(getattr(error, "problem", ""))
        ) from error
    if root is None:
        return
    if not isinstance(root, yaml.SequenceNode):
        raise InputError("is no list of patterns", where=f"{path}:1")
    for node in root.value:
        where = f"{path}:{node.start_mark.line + 1}"
        if isinstance(node, yaml.ScalarNode):
            yield where, {"phrase": node.value}
        elif isinstance(node, yaml.MappingNode):
            yield where, {_scalar(key, where): _scalar(value, where) for key, value in node.value}
        else:
            yield where, None


def _scalar(node: Any, where: str) -> Any:
    import yaml

    if not isinstance(node, yaml.ScalarNode):
        raise InputError("a pattern's keys and values are single texts", where=where)
    if node.tag == "tag:yaml.org,2002:bool":
        return node.value.lower() in ("true", "yes", "on")
    return node.value


def _pattern(entry: Any, where: str) -> Pattern:
    if not isinstance(entry, Mapping):
        raise InputError("is no pattern", where=where, mend=f"Give one of {', '.join(KINDS)}.")
    for key in entry:
        if key not in KEYS:
            raise InputError(f"unknown key '{key}'", where=where, mend=nearest(str(key), KEYS))
    kinds = [kind for kind in KINDS if kind in entry]
    if len(kinds) != 1:
        found = ", ".join(kinds) or "none"
        raise InputError("needs exactly one kind", where=where, found=found, mend=", ".join(KINDS))
    kind = kinds[0]
    for key in ("inside", "loose"):
        if not isinstance(entry.get(key, False), bool):
            raise InputError(f"'{key}' is true or false", where=where)
    text, category = entry[kind], entry.get("category", kind)
    if not isinstance(text, str) or not isinstance(category, str) or not category.strip():
        raise InputError("a pattern and its category are texts", where=where)
    if any("\ud800" <= character <= "\udfff" for character in text + category):
        raise InputError("holds half a character (a lone surrogate)", where=where)
    if not text.strip() or len(text) > LONGEST:
        raise InputError(f"a pattern has 1 to {LONGEST} characters", where=where)
    inside, loose = bool(entry.get("inside")), bool(entry.get("loose"))
    return Pattern(kind, text.strip(), category.strip(), inside, loose, where)

"""A folder of ready splits: which file is forget, which is retain, by their names.

The layout of TOFU (Maini et al. 2024, arXiv:2401.06121) and of what follows it: forget05 beside
retain95, holdout05, idontknow, world_facts; or one file whose columns forget01, forget05 ... say
which rows to forget. Files named `*_perturbed` repeat others in other words: they are probes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from forgetkit.build.inputs import Inputs
from forgetkit.build.ready import chosen_part, rows_of
from forgetkit.corpus.formats import FORMATS, format_of
from forgetkit.errors import InputError, nearest

_ROLES = {
    "forget": ("forget",),
    "retain": ("retain",),
    "holdout": ("holdout",),
    "refusals": ("idontknow", "idk", "refusal"),
    "general": ("general",),
}
"""How the name of a file begins, by its role."""
_PERTURBED = "_perturbed"
_PROBES = ("retain", "real_authors", "world_facts")
"""Groups of TOFU's retain probes: `<group>_perturbed`, or the group's own file."""
SHIPPED = Path(__file__).parent / "ordinary"
"""Ordinary text (public domain) and pairs (self-instruct seed tasks, Apache-2.0)."""
_NUMBER = re.compile(r"(\d+)$")


@dataclass(frozen=True)
class Splits:
    """The files of a forget set that somebody made, by role; empty where there is none.

    Attributes:
        forget: what must go.
        retain: what must stay.
        holdout: what nobody trained on.
        refusals: answers that refuse.
        general: what utility is measured on.
        rephrased: questions and answers of forget in other words.
        probes: retain rows with other answers, to evaluate on.
        unused: files that have no role here.
    """

    forget: tuple[Path, ...]
    retain: tuple[Path, ...] = ()
    holdout: tuple[Path, ...] = ()
    refusals: tuple[Path, ...] = ()
    general: tuple[Path, ...] = ()
    rephrased: tuple[Path, ...] = ()
    probes: tuple[Path, ...] = ()
    unused: tuple[Path, ...] = ()


def splits_of(paths: Sequence[Path]) -> Splits:
    """Sort what `--from` names into roles; folders are opened, files are forget data.

    Args:
        paths: files; folders; `folder@forget05` where a folder holds several forget sets;
            `file@column` for the rows where a column says yes, the others being retain.

    Raises:
        InputError: a path is missing, or a folder holds several sets and none was chosen.
    """
    found = [_splits_of_one(path) for path in paths]

    def joined(role: str) -> tuple[Path, ...]:
        return tuple(path for one in found for path in getattr(one, role))

    return Splits(*(joined(role) for role in Splits.__dataclass_fields__))


def settled(inputs: Inputs) -> tuple[Inputs, list[str]]:
    """Open the folders of `--from`; what the user named for a role goes before what they hold.

    Where nothing names ordinary data, retain is the small set that ships with the package.

    Returns:
        The inputs with every file in its role, and warnings about files without one.

    Raises:
        InputError: as `splits_of`.
    """
    if not inputs.ready:
        return _with_retain(inputs, [])
    found = splits_of(inputs.ready)
    changed = replace(
        inputs,
        ready=found.forget,
        retain=inputs.retain or found.retain,
        holdout=inputs.holdout or found.holdout,
        general=inputs.general or found.general,
        refusals=inputs.refusals or next(iter(found.refusals), None),
        rephrased=inputs.rephrased or found.rephrased,
        probes=inputs.probes or found.probes,
    )
    names = ", ".join(file.name for file in found.unused)
    said = [f"files of --from that have no role here: {names}"] if names else []
    return _with_retain(changed, said)


def _with_retain(inputs: Inputs, said: list[str]) -> tuple[Inputs, list[str]]:
    if inputs.retain:
        return inputs, said
    small = sorted(SHIPPED.glob("*.jsonl"))
    told = "no --retain: the small set of ordinary rows that ships with forgetkit is kept"
    return replace(inputs, retain=small), [*said, told]


def _splits_of_one(path: Path) -> Splits:
    plain, chosen = chosen_part(path)
    if not plain.exists():
        raise InputError("no such file or folder", where=str(plain))
    if plain.is_file():
        return _by_column(path, chosen) if chosen else Splits((path,))
    files = _files(plain)
    by_role = {role: _named(files, begins) for role, begins in _ROLES.items()}
    known = {name for names in by_role.values() for name in names}
    whole = {name: file for name, file in files.items() if name not in known}
    columns = {
        column: file for file in whole.values() for column in _flags(file) if column not in files
    }
    candidates = _plain(by_role["forget"]) | columns
    if not candidates:
        return Splits((path,))  # a folder of forget data
    name = _choice(plain, chosen, candidates)
    if name in columns:
        splits = _by_column(columns[name].with_name(f"{columns[name].name}@{name}"), name)
        forget, retain = splits.forget, splits.retain
    else:
        forget = (candidates[name],)
        retain = _partner(name, by_role["retain"])
    others = {role: tuple(by_role[role].values()) for role in ("refusals", "general")}
    holdout = _partner(name, by_role["holdout"])
    others["rephrased"] = _rephrased(name, files)
    others["probes"] = _probes(files)
    used = {*forget, *retain, *holdout, *(file for part in others.values() for file in part)}
    used |= {chosen_part(one)[0] for one in used}
    unused = tuple(file for file in files.values() if file not in used)
    return Splits(forget, retain, holdout, **others, unused=unused)


def _rephrased(name: str, files: Mapping[str, Path]) -> tuple[Path, ...]:
    """Return the rephrasings of a forget set; those of a larger set hold its own too."""
    exact = files.get(f"{name}{_PERTURBED}")
    if exact is not None:
        return (exact,)
    begins = tuple(_ROLES["forget"])
    return tuple(f for n, f in files.items() if n.startswith(begins) and n.endswith(_PERTURBED))


def _probes(files: Mapping[str, Path]) -> tuple[Path, ...]:
    """Return the retain probes, in the order of their groups."""
    named = (
        files.get(f"{group}{_PERTURBED}") or (files.get(group) if group != "retain" else None)
        for group in _PROBES
    )
    return tuple(file for file in named if file is not None)


def group_of(file: Path) -> str:
    """Return the group of a file of probes.

    >>> group_of(Path("tofu/world_facts_perturbed.json"))
    'world_facts'
    """
    return _stem(chosen_part(file)[0]).removesuffix(_PERTURBED)


def _by_column(path: Path, column: str) -> Splits:
    plain, _ = chosen_part(path)
    return Splits((path,), (plain.with_name(f"{plain.name}@!{column}"),))


def _files(folder: Path) -> dict[str, Path]:
    """Return the files of a folder that can be read, by name without endings."""
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        if file.is_file() and not file.name.startswith(".") and format_of(file) is not None:
            found[_stem(file)] = file
    return {name: file for name, file in found.items() if name.lower() not in ("readme", "license")}


def _stem(file: Path) -> str:
    name = file.name
    for ending in (".gz", ".zst", *FORMATS):
        name = name.removesuffix(ending)
    return name


def _named(files: Mapping[str, Path], begins: Sequence[str]) -> dict[str, Path]:
    return {name: file for name, file in files.items() if name.lower().startswith(tuple(begins))}


def _plain(files: Mapping[str, Path]) -> dict[str, Path]:
    """Leave out files that repeat others in other words, unless there are no others."""
    plain = {name: file for name, file in files.items() if not name.endswith(_PERTURBED)}
    return plain or dict(files)


def _flags(file: Path) -> list[str]:
    """Return the columns of a file that say which rows to forget."""
    first = next((row.values for row in rows_of(file) if row.values is not None), None) or {}
    return [
        name
        for name, value in first.items()
        if name.lower().startswith("forget") and isinstance(value, bool)
    ]


def _choice(folder: Path, chosen: str, candidates: Mapping[str, Path]) -> str:
    if not chosen and len(candidates) == 1:
        return next(iter(candidates))
    if chosen and chosen not in candidates:
        raise InputError(
            f"has no forget set '{chosen}'", where=str(folder), mend=nearest(chosen, candidates)
        )
    if not chosen:
        raise InputError(
            "holds several forget sets",
            where=str(folder),
            found=", ".join(candidates),
            mend=f"Name one: --from {folder}@{next(iter(candidates))}.",
        )
    return chosen


def _partner(name: str, files: Mapping[str, Path]) -> tuple[Path, ...]:
    """Return the file that goes with a forget set: of the same ending, or TOFU's complement."""
    plain = _plain(files) if files else {}
    number = _NUMBER.search(name)
    ending = name[len("forget") :]
    wanted = [role + ending for role in ("retain", "holdout")]
    if number:
        wanted.append(f"retain{100 - int(number.group(1))}")
    for other in wanted:
        if other in plain:
            return (plain[other],)
    return tuple(plain.values()) if len(plain) == 1 else ()

"""Write the results as one Markdown page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bars import Bar, Measured
from environments import ABSENT

UNITS = "MB are 10^6 bytes of UTF-8 text; rates are per CPU second of one core, one thread."


def page(stated: dict[str, Any], rows: Sequence[Bar], m: Measured, more: dict[str, Any]) -> str:
    """Return the whole page."""
    growth = {name: found for name, found in more.items() if name.startswith("growth")}
    parts = [
        "# Mining and deduplication, measured",
        _head(stated, m),
        "## The bars",
        _bars(rows),
        "## Copied spans by kind of edit",
        _kinds(m.scores.get("spans forgetkit", {}).get("kinds", {})),
        "## Every tool",
        _tools(m),
        "## Labelled real data",
        _real(more.get("real", {})) + _at(more.get("real", {})),
        "## How time and memory grow",
        _growth(growth) + _at(next(iter(growth.values()), {})),
        "## One gigabyte through all detectors",
        _gigabyte(more.get("gigabyte", {})) + _at(more.get("gigabyte", {})),
        "## How it was measured",
        _method(stated),
    ]
    return "\n\n".join(parts) + "\n"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in r) + " |" for r in lines
    )


def _head(stated: dict[str, Any], m: Measured) -> str:
    where = stated["machine"]
    flags, size = ", ".join(where["flags"]), next(iter(m.sizes.values()))
    return (
        f"Commit {where['commit']}{'' if where['clean'] else ' with changes'}, {where['date']}. "
        f"{where['processor']}, {where['cores']} cores ({flags}), {where['memory_gb']} GB, load "
        f"{where['load'][0]}; {where['system']}, Python {where['python']}. Command: "
        f"`{stated['command']}` (`make bench-mine` for all). {UNITS} Data of the size "
        f"{next(iter(m.sizes))} (bars are meant for full: small jobs carry their fixed costs): the "
        f"corpus with copies holds "
        f"{size.spans:.0f} MB, the documents with near duplicates {size.near:.0f} MB; the data "
        f"were made from {'; '.join(stated['made']['origins'])}."
    )


def _bars(rows: Sequence[Bar]) -> str:
    header = ("job", "bar", "forgetkit", "peer", "ratio", "met", "if not, why")
    words = {True: "yes", False: "**no**", None: ""}
    cells = [
        (
            row.job,
            row.bar,
            row.ours,
            row.peer,
            f"{row.ratio:.1f}×" if row.ratio else "",
            words[row.met],
            row.reason,
        )
        for row in rows
    ]
    return table(header, cells)


def _number(value: Any, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _kinds(kinds: dict[str, dict[str, Any]]) -> str:
    header = (
        "kind",
        "n",
        "found",
        "covered",
        "precision",
        "edge",
        "both edges exact",
        "in the work",
    )
    rows = [
        (
            kind,
            str(score["n"]),
            *(_number(score[name]) for name in ("found", "covered", "precision")),
            _number(score["edge"], 2),
            _number(score["exact"]),
            _number(score["work_exact"]),
        )
        for kind, score in kinds.items()
    ]
    note = (
        "Found: half of the copy is covered; covered: 90 % of it; precision: characters of the "
        "spans that touch it; edge: characters an end is off on average, of copies met by one span."
    )
    return f"{table(header, rows)}\n\n{note}" if rows else "Not measured."


def _tools(m: Measured) -> str:
    header = ("job", "version", "data", "CPU seconds by part", "peak MB", "quality")
    rows = []
    for name, found in m.results.items():
        if "failed" in found:
            rows.append((name, "", "", "", "", f"not measured: {found['failed']}"))
            continue
        parts = ", ".join(f"{part} {spent['cpu']:.2f}" for part, spent in found["seconds"].items())
        quality = [_quality(m.scores[key]) for key in m.scores if key.startswith(name)]
        rows.append(
            (
                name,
                found["version"],
                found["size"],
                parts,
                str(found.get("peak_mb", "–")),
                "; ".join(quality),
            )
        )
    rows += [(name, "", "", "", "", f"not measured: {reason}") for name, reason in ABSENT.items()]
    return table(header, rows)


def _quality(score: dict[str, Any]) -> str:
    whole = score.get("all", score)
    words = [
        f"{key} {value:.4f}" if isinstance(value, float) else f"{key} {value}"
        for key, value in whole.items()
        if value is not None and key != "n"
    ]
    return ", ".join(words)


def _real(real: dict[str, Any]) -> str:
    if "reuse" not in real:
        return f"Not measured: {real.get('absent') or real.get('failed') or 'not asked for'}."
    header = ("reused text, `mine`", "n", "found", "covered", "precision")
    rows = []
    for names, score in real["reuse"].items():
        for kind, row in (("all", score["all"]), *score["kinds"].items()):
            figures = [_number(row[name]) for name in ("found", "covered", "precision")]
            rows.append((f"{names}: {kind}", str(row["n"]), *figures))
        hit = score["negatives"]
        rows.append(
            (
                f"{names}: documents without reuse that were hit",
                str(hit["n"]),
                str(hit["hit"]),
                "",
                "",
            )
        )
    areas = [
        (f"toxicity, area under ROC, {source}", str(row["n"]), _number(row["area"]))
        for source, row in real["toxicity"].items()
    ]
    spans, asked, pairs = real["toxic_spans"], real["requests"], real["paraphrases"]
    areas += [
        (f"toxic spans, character F1, {how}", str(spans["n"]), _number(value))
        for how, value in spans["f1"].items()
    ]
    areas += [
        ("XSTest unsafe against safe, area", str(asked["n"]), _number(asked["area"])),
        ("paraphrase pairs, area of the cosine", str(pairs["n"]), _number(pairs["area"])),
        (f"… recall at cosine {pairs['threshold']}", str(pairs["n"]), _number(pairs["recall"])),
        ("… neighbours above it", str(pairs["n"]), _number(pairs["false"])),
    ]
    second = table(("held-out rows", "n", "value"), areas)
    return f"{real['note']}\n\n{table(header, rows)}\n\n{second}"


def _at(found: dict[str, Any]) -> str:
    """Say at which commit a part was measured that need not be of the same run."""
    return f"\n\nMeasured at commit {found['commit']}." if "commit" in found else ""


def _growth(growth: dict[str, dict[str, Any]]) -> str:
    if not growth:
        return "Not measured: not asked for."
    rows = []
    for name, found in growth.items():
        name = name.removeprefix("growth, ")
        if "failed" in found:
            rows.append((name, "", "", found["failed"], "", ""))
            continue
        spent = found["seconds"]["mine"]
        sizes = (f"{found['works_mb']:.1f}", f"{found['corpus_mb']:.1f}")
        times = (f"{spent['cpu']:.2f}", f"{spent['wall']:.2f}")
        rows.append((name, *sizes, *times, str(found["peak_mb"])))
    header = ("`mine --detector verbatim`", "works MB", "corpus MB", "CPU s", "wall s", "peak MB")
    note = (
        "The index is built anew each time, and that is most of the time where the corpus is "
        "small; kernels were compiled before. The peak holds the interpreter and its libraries."
    )
    return f"{table(header, rows)}\n\n{note}"


def _gigabyte(found: dict[str, Any]) -> str:
    if "seconds" not in found:
        return f"Not measured: {found.get('failed') or 'not asked for (--gigabyte)'}."
    spent = found["seconds"]["mine"]
    return (
        f"{found['corpus_mb']:.0f} MB past {', '.join(found['detectors'])} with "
        f"{found['works_mb']:.0f} MB of works: {spent['wall'] / 60:.1f} minutes of wall time, "
        f"{spent['cpu'] / 60:.1f} CPU minutes, {found['workers']} workers, peak "
        f"{found['peak_mb']} MB, of which a run over 20 documents, with all models and libraries, "
        f"takes {found['warm_mb']} MB."
    )


def _method(stated: dict[str, Any]) -> str:
    reused = ", ".join(stated["peers_reused"])
    return (
        "The data sets are made anew from public-domain text by a chain over words (`markov.py`), "
        "as there is not enough of the text itself; copies and near duplicates are planted in it, "
        "so every offset is known, and the pairs of near duplicates come from an exact join of all "
        "documents (`twins.py`). Every job is a process of its own on one core with one thread; "
        "imports, reading of models and compilation of kernels come before the clock starts, "
        "reading the input and writing the output after it, except where a row says memory. Peers "
        "have environments of their own; slow ones read the small data, a tenth of the full. "
        "rensa's figures are of its candidates; `verified` are "
        "those of exact Jaccard, for more time. Tools that only say what stays are scored by pairs "
        "of which one goes, and by dropped documents that have a true partner."
        + (f" Not measured in this run but in an earlier one here: {reused}." if reused else "")
    )

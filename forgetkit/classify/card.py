"""The card of a trained filter: its figures for people, in Markdown."""

from __future__ import annotations

from typing import Any


def card_text(card: dict[str, Any]) -> str:
    """Return the card as Markdown; it holds no text of the rows."""
    config = card["config"]
    origin = f"scores of `{card['teacher']}`" if card["teacher"] else "labelled rows"
    lines = [
        "# A forgetkit filter",
        "",
        f"A linear classifier over hashed words and word pairs, trained on {origin}.",
        "Use it with `forgetkit mine CORPUS --detector harm --classifier THIS_FOLDER`.",
        "",
        f"Measured on the rows held out by a hash of their id ({config['held_out']:.0%}), which",
        "training never saw. Intervals are Wilson's, 95 %.",
        "",
        *_table(card["held_out"], card["thresholds"]),
        "",
        _rule(config),
    ]
    if "second" in card:
        lines += ["", f"With the embedding head (`{card['embedder']}`):", ""]
        lines += _table(card["second"]["held_out"], card["second"]["thresholds"])
    lines += ["", "Trained on:", ""]
    for category, sources in card["trained_on"].items():
        for source, count in sources.items():
            lines.append(
                f"- {_cell(category)}, {_cell(source)}: "
                f"{count['harmful']} harmful, {count['harmless']} harmless"
            )
    lines += ["", "It knows no context; let a person or a stronger classifier confirm its finds."]
    return "\n".join(lines) + "\n"


def _rule(config: dict[str, Any]) -> str:
    """Say how the thresholds were set."""
    if config["recall"] is not None:
        return f"A threshold is the highest score that keeps {config['recall']:.0%} of the harmful."
    return (
        "A threshold is strict: no more than "
        f"{config['false_positives']:.0%} of the harmless rows reach it, and rows whose scores "
        "tie fall below it together."
    )


def _table(held_out: dict[str, Any], thresholds: dict[str, float]) -> list[str]:
    lines = [
        "| category | rows | harmful | area under ROC | threshold | precision | recall "
        "| false positives | calibration error |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in held_out.items():
        rates = [_rate(row[key]) for key in ("precision", "recall", "false_positives")]
        auc = "–" if row["auc"] is None else f"{row['auc']:.3f}"
        cells = [_cell(name), str(row["n"]), str(row["harmful"]), auc, f"{thresholds[name]:.3f}"]
        error = f"{row['calibration']['expected_error']:.3f}"
        lines.append("| " + " | ".join([*cells, *rates, error]) + " |")
    return lines


def _rate(rate: dict[str, Any]) -> str:
    if rate["value"] is None:
        return "–"
    return f"{rate['value']:.2f} ({rate['low']:.2f}–{rate['high']:.2f})"


def _cell(text: str) -> str:
    """Return a name that cannot break out of a table cell or a line."""
    return "".join(c if c.isalnum() or c in " -_.:/" else "_" for c in text)

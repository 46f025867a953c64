"""Figures of matplotlib as inline SVG that takes its colours and font from the page.

Colours are drawn as stand-ins and replaced by the page's CSS variables, so one picture serves
light, dark and print. The same figure gives the same bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING

from forgetkit.report.text import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BEFORE, AFTER, CONTROL, INK, MUTED, GRID = (f"#0102{n:02d}" for n in range(3, 9))
PASS, MARGINAL, FAIL = (f"#0102{n:02d}" for n in range(9, 12))
_VARIABLES = {
    BEFORE: "before",
    AFTER: "after",
    CONTROL: "control",
    INK: "ink",
    MUTED: "muted",
    GRID: "rule",
    PASS: "pass",
    MARGINAL: "marginal",
    FAIL: "fail",
}
WIDTH = 5.4  # inches; one column of the page
_SETTINGS = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 1.0,
    "axes.titlesize": 10,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "legend.frameon": False,
}


@contextmanager
def canvas(height: float) -> Iterator[tuple[Figure, Axes]]:
    """Yield an empty figure of one column's width and its axes; `height` in inches."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        yield figure, figure.add_subplot()


def plain(label: str, longest: int = 32) -> str:
    """Return a label of printable ASCII, the characters every font has."""
    shown = "".join(c if " " <= c <= "~" else "?" for c in label)
    return shown if len(shown) <= longest else f"{shown[: longest - 3]}..."


def to_svg(figure: Figure, name: str, title: str, description: str) -> str:
    """Return the figure as an `<svg>` element for a page.

    Args:
        figure: the figure; drawn inside its `canvas` block.
        name: unique on the page; part of the ids.
        title: the accessible name.
        description: what the picture shows, for people who do not see it.
    """
    import matplotlib

    stream = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with matplotlib.rc_context({"svg.hashsalt": f"forgetkit-{name}"}):
        figure.savefig(stream, format="svg", transparent=True, metadata=nothing)
    return _inline(stream.getvalue(), name, title, description)


def _inline(drawn: str, name: str, title: str, description: str) -> str:
    body = drawn[drawn.index("<svg") :]
    box = re.search(r'viewBox="([^"]+)"', body)
    body = body[body.index(">") + 1 :]
    body = re.sub(r"\s*<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*">', "<g>", body)
    body = re.sub(r' id="[a-z0-9]+_\d+"', "", body)  # names of lines, the same in each picture
    body = body.replace("'DejaVu Sans'", "var(--sans)").replace("xlink:href", "href")
    body = re.sub(r" *\n *", "\n", body)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, f"var(--{variable})")
    head = (
        f'<svg viewBox="{box.group(1) if box else "0 0 1 1"}" role="img" '
        f'aria-labelledby="{name}-title {name}-text">'
        f'<title id="{name}-title">{escape(visible(title))}</title>'
        f'<desc id="{name}-text">{escape(visible(description, 4000))}</desc>'
    )
    return head + body.strip()

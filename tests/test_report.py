"""The report: self-contained, honest about what is missing, the same bytes each time."""

from __future__ import annotations

import doctest
import json
import re
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from report_cases import CONTEXT, HOSTILE, SECRET, harm_case, run_case, text_case

import forgetkit.report
from forgetkit.errors import InputError
from forgetkit.report import examples, report, summary, table, text, verdict
from forgetkit.results import Estimate, Metric, Results

BANNED = ("erased", "deleted from the model", "proof", "guaranteed", "compliant")
MEGABYTE = 1_000_000


def page(folder: Path, results: Results, *, include_text: bool = False, plain: bool = False) -> str:
    results.save(folder / "results.json")
    (folder / "run.json").write_text(json.dumps(run_case()), encoding="utf-8")
    context = None if plain else CONTEXT
    out = report(folder, folder / "out" / "report.html", include_text=include_text, context=context)
    return out.read_text(encoding="utf-8")


@pytest.mark.parametrize("results", [text_case(), harm_case(), text_case(hostile=True)])
@pytest.mark.parametrize("include_text", [False, True])
def test_the_page_has_no_script_and_no_external_reference(
    tmp_path: Path, results: Results, include_text: bool
) -> None:
    html = page(tmp_path, results, include_text=include_text)
    assert "<script" not in html.lower()
    assert not re.search(r"<(?:link|img|iframe|object|embed|base|form)\b", html, re.IGNORECASE)
    assert not re.search(r"@import|\son\w+=\"", html)
    assert all(target.startswith("#") for target in re.findall(r'(?:href|src)="([^"]*)"', html))
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", html))
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in html
    assert len(html.encode()) < MEGABYTE


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    assert page(tmp_path, text_case()) == page(tmp_path, text_case())


def test_a_page_full_of_hostile_text_stays_below_a_megabyte(tmp_path: Path) -> None:
    results = text_case()
    pairs = [{**pair, "prompt": "\u202e" * 5000, "answer": "<" * 5000} for pair in results.pairs]
    html = page(tmp_path, replace(results, pairs=pairs * 20), include_text=True)
    assert len(html.encode()) < MEGABYTE


def test_texts_are_redacted_unless_asked_for(tmp_path: Path) -> None:
    html = page(tmp_path, text_case())
    assert "amber window kept" not in html
    assert f"{len(SECRET)} characters" in html
    assert stat.S_IMODE((tmp_path / "out" / "report.html").stat().st_mode) == 0o644

    html = page(tmp_path, text_case(), include_text=True)
    assert SECRET in html
    assert stat.S_IMODE((tmp_path / "out" / "report.html").stat().st_mode) == 0o600


def test_hostile_text_is_escaped_and_hidden_characters_are_shown(tmp_path: Path) -> None:
    results = replace(text_case(hostile=True), notes=[HOSTILE])
    html = page(tmp_path, results, include_text=True)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;⟨U+202E⟩gnp.exe" in html
    assert "\u202e" not in html


@pytest.mark.parametrize("name", ["$\\frac{", "<b>&", "\u202eмера", "x" * 300])
def test_a_strange_metric_name_breaks_no_picture(tmp_path: Path, name: str) -> None:
    strange = Metric(name, name, "lower", Estimate(0.9, 30), Estimate(0.1, 30))
    html = page(tmp_path, replace(text_case(), metrics=(*text_case().metrics, strange)))
    assert "<b>&" not in html
    assert "\u202e" not in html


def test_the_verdict_names_what_was_not_met(tmp_path: Path) -> None:
    assert "All 4 thresholds fixed before the run are met." in page(tmp_path, text_case())
    html = page(tmp_path, text_case(after=0.42))
    assert "1 of 4 thresholds is not met: extraction strength." in html
    assert "recites 42\u202f% of the text on its own (before 94\u202f%" in html


def test_a_marginal_harm_case_says_so_and_draws_the_outcomes(tmp_path: Path) -> None:
    html = page(tmp_path, harm_case(), plain=True)
    assert "No threshold fails outright, but complying answers (unseen) fell short" in html
    assert "What the model answered" in html
    assert "comply → " in html
    assert "Exact memorisation, example by example" not in html


def test_a_missing_number_shows_its_reason(tmp_path: Path) -> None:
    html = page(tmp_path, text_case())
    assert "not available: fewer than 20 probes" in html
    assert "not available: fewer than 100 a side" in html


def test_every_caveat_is_there_with_its_number_where_measured() -> None:
    found = {c.title: c.text for c in verdict.caveats(text_case(), CONTEXT)}
    assert "suppressed under the 6 tests listed" in found["Suppression"]
    missed = {c.title: c.text for c in verdict.caveats(text_case(after=0.42), CONTEXT)}
    assert "suppressed" not in missed["Suppression"]
    assert "extraction strength 0.94" in found["Adapter"]
    assert "212 mined, 205 accepted, 48 clusters" in found["Finding copies"]
    assert found["Membership"].startswith("Not measured")
    assert "n = 200" in found["Cost"]
    assert {"Precision", "Other models", "Standing"} <= set(found)


def test_nothing_measured_still_gives_a_page(tmp_path: Path) -> None:
    empty = Results(metrics=(), verdict=None, models={}, configuration={}, provenance={})
    html = page(tmp_path, empty, plain=True)
    assert "No threshold was set, so nothing was judged." in html
    assert "Not judged" in html


def test_banned_words_appear_nowhere(tmp_path: Path) -> None:
    folder = Path(forgetkit.report.__file__).parent
    sources = [p for p in folder.rglob("*") if p.suffix in {".py", ".html", ".css"}]
    assert len(sources) > 5
    texts = [p.read_text(encoding="utf-8") for p in sources]
    texts += [page(tmp_path, results) for results in (text_case(), text_case(0.42), harm_case())]
    assert [word for word in BANNED for said in texts if word in said.lower()] == []


def test_every_picture_is_named_and_described(tmp_path: Path) -> None:
    html = page(tmp_path, text_case())
    pictures = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert len(pictures) == 11
    assert all("<title" in picture and "<desc" in picture for picture in pictures)
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert "#0102" not in html


def test_the_page_says_whether_holdout_is_like_forget(tmp_path: Path) -> None:
    html = page(tmp_path, text_case())
    assert "distance 0.00, p 1.00: no difference is shown" in html
    assert "distance 0.57, p below .001: they differ" in html
    assert "forget: 6.10, 6.40, 6.60, 6.90, 7.60. holdout: 6.90" in html


def test_missing_results_are_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"results\.json"):
        report(tmp_path, tmp_path / "report.html")


def test_a_run_that_was_named_must_be_there(tmp_path: Path) -> None:
    text_case().save(tmp_path / "results.json")
    with pytest.raises(InputError, match=r"absent\.json"):
        report(tmp_path, tmp_path / "report.html", run=tmp_path / "absent.json")


def test_the_example_that_kept_most_comes_first() -> None:
    names = [example.name for example in examples.worst(text_case().pairs, include_text=False)]
    assert names[0] == "passage-003 · forget · greedy"
    assert len(names) == 20
    assert not any("holdout" in name for name in names)


def test_the_table_has_one_row_a_metric() -> None:
    rows = table(text_case())
    assert all(len(row) == len(summary.HEADER) for row in rows)
    assert rows[0][:4] == ("Extraction strength", "0.94", "0.03", "0.01")
    assert rows[0][-1] == "pass"
    assert rows[6][2] == "– (fewer than 20 probes)"


def test_the_examples_in_docstrings_hold() -> None:
    assert doctest.testmod(text).failed == 0

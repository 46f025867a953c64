"""The report's pictures of attacks, membership and leaks."""

from __future__ import annotations

import doctest
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
from report_cases import CONTEXT, attack_reports, harm_case, text_case

import forgetkit.report.roc as by_roc
from forgetkit.report import attacks, charts, report
from forgetkit.results import Estimate, Metric


def page(folder: Path) -> str:
    replace(text_case(), attacks=attack_reports()).save(folder / "results.json")
    return report(folder, folder / "report.html", context=CONTEXT).read_text(encoding="utf-8")


def test_each_attack_has_a_curve_and_a_table_worst_first(tmp_path: Path) -> None:
    html = page(tmp_path)
    assert "<h2>Attacks</h2>" in html
    assert html.count("10 of 16 spans, worst first") == 1
    assert "int8 0.06, int4 0.90" in html
    shown = re.findall(r"span-\d\d", html)
    assert shown == [f"span-{n:02}" for n in range(10)]
    assert "Not available: the weights are merged: there is no adapter to detach." in html


def test_the_page_with_attacks_is_well_formed_and_the_same_each_time(tmp_path: Path) -> None:
    html = page(tmp_path)
    assert html == page(tmp_path)
    assert "<script" not in html.lower()
    for drawn in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        ET.fromstring(drawn)
    names = re.findall(r'id="([\w-]+-title)"', html)
    assert len(names) == len(set(names)) >= 6


def test_a_curve_says_its_numbers_and_bits_fall_to_the_right() -> None:
    quantized, drawn = attacks.curves(attack_reports())
    assert "unlearned: 0.05 at 16, 0.06 at 8, 0.50 at 4." in quantized.svg
    assert "control: 0.10 at 1, 0.20 at 8." in drawn.svg
    ticks = re.findall(r'x="([\d.]+)" y="[\d.]+"[^>]*>(16|8|4)<', quantized.svg)
    assert [label for _, label in sorted(ticks, key=lambda t: float(t[0]))] == ["16", "8", "4"]


def test_no_attack_draws_nothing() -> None:
    assert attacks.curves([]) == []
    assert attacks.tables([]) == []
    assert attacks.curves(attack_reports()[2:]) == []


def test_the_roc_of_perfect_and_of_nothing() -> None:
    perfect = by_roc.roc_points([0.1, 0.2], [1.0, 2.0])
    assert by_roc.area(perfect) == 1.0
    same = by_roc.roc_points([1.0, 1.0], [1.0, 1.0])
    assert (same, by_roc.area(same)) == ([(0.0, 0.0), (1.0, 1.0)], 0.5)
    assert by_roc.area(by_roc.roc_points([3.0, 4.0], [1.0])) == 0.0
    assert doctest.testmod(by_roc).failed == 0


def test_the_roc_needs_both_sides_and_says_its_area() -> None:
    results = text_case()
    picture = by_roc.roc(results.pairs)
    assert picture is not None
    assert "before: area 1.00" in picture.svg
    assert by_roc.roc([p for p in results.pairs if p["split"] == "forget"]) is None
    assert by_roc.roc(harm_case().pairs) is None


def test_leaks_stand_apart_from_the_other_shares() -> None:
    results = text_case()
    more = Metric("leak_at_k", "forget", "lower", after=Estimate(0.3, 40, 0.2, 0.4))
    results = replace(results, metrics=(*results.metrics, more))
    leaks, others = charts.leaks(results), charts.bars(results)
    assert leaks is not None
    assert others is not None
    assert "Leak rate: before 0.92" in leaks.svg
    assert "Worst of many answers: before –, after 0.30" in leaks.svg
    assert "Leak rate" not in others.svg
    assert "Extraction strength: before 0.94" in others.svg


@pytest.mark.parametrize("include_text", [False, True])
def test_hostile_ids_of_spans_are_escaped(tmp_path: Path, include_text: bool) -> None:
    replace(text_case(), attacks=attack_reports()).save(tmp_path / "results.json")
    out = report(tmp_path, tmp_path / "r.html", include_text=include_text)
    html = out.read_text(encoding="utf-8")
    assert "<script" not in html.lower()
    assert "\u202e" not in html

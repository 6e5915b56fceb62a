"""The page of an export: nothing outside itself, everything inside, hostile names harmless."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lavin_deploy.export.report.page import render, short
from lavin_deploy.page import Bar, bars, error, near_one, number, size, table, text
from tests.helpers import reports

pytestmark = pytest.mark.unit

EMPTY = {"br", "img", "line", "meta", "rect"}
PICTURE = re.compile(r'src="data:image/png;base64,([^"]+)"')


class Reader(HTMLParser):
    """Checks that elements close in order; keeps their names, attributes and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: set[str] = set()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.seen: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        values = dict(attrs)
        self.links += [values[name] or "" for name in ("src", "href") if name in values]
        self.ids |= {values["id"] or ""} if "id" in values else set()
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in EMPTY:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.seen.append(data)

    @property
    def text(self) -> str:
        return "\n".join(self.seen)


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return reports.report()


@pytest.fixture(scope="module")
def html(report: dict[str, Any]) -> str:
    return render(report, reports.pictures())


def test_the_page_refers_to_nothing_outside_itself(html: str) -> None:
    page = Reader(html)
    assert page.links
    for link in page.links:
        assert link.startswith("data:image/png;base64,") or link.removeprefix("#") in page.ids, link
    assert not {"script", "link", "iframe", "object", "b"} & page.names
    assert not re.search(r"https?://|url\(|@import|<script|\son\w+=", html, re.IGNORECASE)


def test_names_are_text_and_never_markup(html: str) -> None:
    assert "<b>" not in html
    for name in ("edge <b>bold</b>", "conv_in<b>", reports.TASKS[1]):
        assert name in Reader(html).text, name


def test_every_variant_module_task_operator_and_graph_is_there(
    report: dict[str, Any], html: str
) -> None:
    seen = Reader(html).text
    for row in report["parity"]:
        assert row["graph"] in seen
    for variant in report["variants"]:
        assert f"{variant['precision']} {variant['dialect']}" in seen
        names = [row["module"] for row in variant["modules"]]
        names += [check["graph"] for check in variant["gate"]["checks"]]
        names += [task["task"] for task in variant["gate"]["tasks"]]
        names += [*variant["islands"], *variant["wide"]]
        for graph in variant["graphs"]:
            names += [graph["file"], *graph["operators"]]
        for name in names:
            assert name in seen, name
    for part in (
        *("failed, forced", "not finite", "not run in a runtime: bf16", "1.31×", "46.7 MB"),
        *("velocity is beyond the limit", "int8 portable, frozen context", "ab" * 32, "96.31"),
        *(
            "Modules kept in fp32: ",
            "dit.qk_norm",
            "Some Processor (R) v5, 2 cores",
            "not measured",
            "7.9e-04",
            "3.0e-03",
        ),
    ):
        assert part in seen, part


def test_the_operators_of_a_variant_are_counted_over_its_graphs(html: str) -> None:
    row = re.search(r"<tr><td><code>Cast</code></td>(.*?)</tr>", html)
    assert row is not None
    assert re.findall(r">(–|\d+)<", row[1]) == ["–", "220", "220", "220"]


def test_pictures_are_lossless(html: str) -> None:
    expected = []
    for comparison in reports.pictures():
        first = [comparison.query] + ([] if comparison.truth is None else [comparison.truth])
        expected += [*first, *comparison.answers.values()]
    images = [base64.b64decode(data, validate=True) for data in PICTURE.findall(html)]
    assert len(images) == len(expected) == 9
    for data, image in zip(images, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), image)


def test_answers_say_how_far_they_are_from_the_first(html: str) -> None:
    comparison = reports.pictures()[0]
    away = np.abs(comparison.answers["int8 native"].astype(int) - comparison.answers["fp32 native"])
    assert f"mean {number(float(away.mean()))}, max {away.max()}" in html
    other = {"fp32 native": comparison.query, "fp16 native": comparison.query[:16]}
    assert "of another size" in render(reports.report(), [replace(comparison, answers=other)])


def test_a_report_without_tasks_timings_or_checks_is_a_page_too(report: dict[str, Any]) -> None:
    first = report["variants"][0]
    gate = {**first["gate"], "checks": [], "tasks": [], "speed": None}
    bare = {
        **report,
        **{"parity": [], "timings": {}, "versions": {}, "variants": [{**first, "gate": gate}]},
    }
    seen = Reader(render(bare, [])).text
    for part in ("No graph was compared", "Nothing was timed", "no tasks to show answers of"):
        assert part in seen
    assert short(bare)[0]["rel_l2"] is None


def test_short_form(report: dict[str, Any]) -> None:
    fp32, fp16, int8, bf16 = short(json.loads(json.dumps(report, allow_nan=False)))
    assert fp16 == {
        **{"precision": "fp16", "dialect": "native", "passed": True, "forced": False},
        **{"finite": True, "rel_l2": 7.9e-4, "limit": 3e-3, "ratio": 1.314, "islands": 2},
        "not_run": "",
    }
    assert fp32["ratio"] is None
    assert (int8["passed"], int8["forced"], int8["rel_l2"]) == (False, True, 4.1e-2)
    assert bf16["not_run"] == "not run in a runtime: bf16"
    assert not bf16["finite"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((0.0, "0"), (1.234e-4, "1.2e-04"), (0.0123, "0.0123"), (96.314, "96.31")),
        *((812.4, "812"), (99.996, "100"), (123456.0, "1.2e+05"), (-2e-3, "-2.0e-03")),
    ],
)
def test_numbers_are_short(value: float, expected: str) -> None:
    assert number(value) == expected


def test_values_in_words() -> None:
    assert near_one(1 - 5e-7) == "1 - 5.0e-07"
    assert (near_one(1.0), near_one(0.5), near_one(None)) == ("1", 0.5, None)
    assert [error(e) for e in (4.1e-2, 0.0, None)] == ["4.1e-02", "0", None]
    assert [size(n) for n in (None, 950, 123_456, 2_500_000_000)] == [
        *(None, "0.9 kB", "0.1 MB", "2.50 GB")
    ]
    assert (text(True), text(1234567)) == ("yes", "1\u202f234\u202f567")
    assert table(("a", "b"), [("<", 1)], " n").count('class="n"') == 2


def test_bars_are_as_long_as_their_logarithm() -> None:
    rows = [Bar(name=str(i), value=v) for i, v in enumerate((1e-2, 1e-3, 1e-4, 1e-12, 0.0, None))]
    widths = [float(w) for w in re.findall(r'<rect[^>]* width="([0-9.]+)"', bars(rows))]
    assert widths[0] - widths[1] == pytest.approx(widths[1] - widths[2], abs=0.2)
    assert widths[2] > widths[3] > widths[4] == widths[5] == 0
    lone = bars([Bar(name="x" * 80, value=1e-3, marked=True)])
    assert "…" in lone
    assert 'class="marked"' in lone
    assert f"<title>{'x' * 80}: " in lone

"""What the suite ``pairs`` found, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lavin_deploy.evaluation.bootstrap import Interval
from lavin_deploy.evaluation.pairs.measure import MODEL, FamilyResult
from lavin_deploy.evaluation.report.contact_sheet import sheet_of
from lavin_deploy.files import replaced_file
from lavin_deploy.page import Html, join, page, sheet, table, tag


@dataclass(frozen=True, kw_only=True)
class PairsReport:
    """Results of all families.

    Attributes:
        heading: what was measured, for people.
        facts: the same as JSON data.
        results: of every family and its members.
    """

    heading: str
    facts: Mapping[str, Any]
    results: tuple[FamilyResult, ...]

    def to_json(self) -> dict[str, Any]:
        """The facts and ``families``, a list."""
        families = []
        for result in self.results:
            row = asdict(replace(result, pictures=()))
            del row["pictures"]
            families.append(row)
        return {"suite": "pairs", **self.facts, "families": families}

    def text(self) -> str:
        """A heading and a table of each family, without a line break at the end."""
        return "\n\n".join((self.heading, *("\n".join(_lines(each)) for each in self.results)))

    def write(self, folder: Path) -> None:
        """Write ``report.html`` with pictures, and ``results.json``, into a folder that exists."""
        with replaced_file(folder / "results.json") as part:
            part.write_text(json.dumps(self.to_json(), indent=1, allow_nan=False))
        sections: list[Html] = [tag("p", self.heading)]
        for result in self.results:
            sections.append(tag("h2", _title(result)))
            rows = [
                [name, _cell(value), _cell(result.gains[name]) if name in result.gains else ""]
                for name, value in result.rows.items()
            ]
            sections.append(table(["", result.unit, "model better by"], rows))
            if result.named:
                controls = list(result.gains)
                rows = [
                    [member, _cell(own.score), *(_gain(own.gains.get(name)) for name in controls)]
                    for member, own in result.named.items()
                ]
                sections.append(table(["", result.unit, *controls], rows))
            sections += [tag("p", sentence) for sentence in _sentences(result)]
            if result.pictures:
                about = f"first samples of {result.family}"
                sections.append(sheet(sheet_of(result.pictures), about))
        with replaced_file(folder / "report.html") as part:
            part.write_text(page("Reading of pairs", join(sections)))


def _title(result: FamilyResult) -> str:
    return f"{result.family}, {result.members}, {result.samples} samples, {result.pairs} pair(s)"


def _cell(value: Interval) -> str:
    return f"{value.mean:.3f} ({value.low:.3f} to {value.high:.3f})"


def _gain(value: Interval | None) -> str:
    return "" if value is None else f"{value.mean:+.2f}"


def _lines(result: FamilyResult) -> list[str]:
    lines = [_title(result), f"  {'':<24}  {result.unit:>26}  {'model better by (95 %)':>26}"]
    for name, value in result.rows.items():
        gain = "" if name == MODEL else _cell(result.gains[name])
        lines.append(f"  {name:<24}  {_cell(value):>26}  {gain:>26}")
    for member, own in result.named.items():
        gains = ", ".join(f"{name} {gain.mean:+.2f}" for name, gain in own.gains.items())
        lines.append(f"  {member:<24}  {_cell(own.score):>26}  better than {gains}")
    return [*lines, *(f"  {sentence}" for sentence in _sentences(result))]


def _sentences(result: FamilyResult) -> list[str]:
    sentences = []
    if len(result.curve) > 1:
        curve = ", ".join(f"{count}: {value.mean:.3f}" for count, value in result.curve.items())
        sentences.append(f"by number of pairs: {curve}")
    if result.switched is not None:
        sentences.append(f"answer went with the mark: {100 * result.switched:.1f} %")
    if result.empty is not None:
        sentences.append(
            f"nothing painted where nothing is: {100 * result.empty:.1f} % of "
            f"{result.empty_samples}"
        )
    return sentences

"""Put what answers through the suite ``pairs``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lavin_deploy import __version__
from lavin_deploy.errors import InputError, unknown_name
from lavin_deploy.evaluation.pairs.episodes import PairSource
from lavin_deploy.evaluation.pairs.measure import measure_family
from lavin_deploy.evaluation.pairs.report import PairsReport
from lavin_deploy.files import kept_folder, require_folder
from lavin_deploy.tasks.samples import Answer

if TYPE_CHECKING:
    from lavin_deploy.runtime.media.process import Progress

MOST_PAIRS = 4
"""Example pairs that every episode has, whatever the model takes, so that samples are the same."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is measured.

    Attributes:
        name: of the bundle or checkpoint.
        how: back end and precision.
        size: (height, width) it runs at.
        pairs: numbers of pairs that it takes, of 1, 2 and 4.
    """

    name: str
    how: str
    size: tuple[int, int]
    pairs: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class PairsEvaluation:
    """What to measure.

    Attributes:
        data: prepared folder.
        samples: of every family's members.
        families: only these; empty: all.
        seed: of what is drawn.
        report: folder to write results and pictures into, or None.
    """

    data: Path
    samples: int
    families: tuple[str, ...]
    seed: int
    report: Path | None

    def __post_init__(self) -> None:
        if self.report is not None:
            require_folder(self.report, empty=False)


class PairSourceMaker(Protocol):
    """Makes episodes of a prepared folder; it is the trainer's, see ``HeldOutFamilies``."""

    def __call__(self, folder: Path, *, size: int, pairs: int, seed: int) -> PairSource:
        """Return the source of square samples of ``size`` pixels."""
        ...


def evaluate_pairs(
    answer: Answer,
    asked: Asked,
    what: PairsEvaluation,
    *,
    source: PairSourceMaker,
    progress: Progress,
) -> PairsReport:
    """Measure every family, and write the report if asked for.

    Args:
        answer: from pairs and a query to an answer.
        asked: what answers.
        what: to measure.
        source: makes the episodes of ``what.data``.
        progress: is told of every sample.

    Raises:
        InputError: an unknown family, a folder that is not prepared, or a model that takes neither
            1, 2 nor 4 pairs.
    """
    if not asked.pairs:
        raise InputError(f"{asked.name} takes neither 1, 2 nor 4 pairs at {asked.size}.")
    episodes = source(what.data, size=min(asked.size), pairs=MOST_PAIRS, seed=what.seed)
    for name in what.families:
        if name not in {family for family, _ in episodes.families}:
            raise unknown_name("family", name, dict(episodes.families))
    chosen = [
        (family, members, min(what.samples, episodes.count(family, members) or what.samples))
        for family, members in episodes.families
        if not what.families or family in what.families
    ]
    extra = sum(max(2, n // 4) for family, _, n in chosen if episodes.has_empty(family))
    progress.expect(sum(count for _, _, count in chosen) + extra)
    results = tuple(
        measure_family(
            family,
            members,
            episodes,
            answer,
            samples=count,
            counts=asked.pairs,
            advance=progress.advance,
        )
        for family, members, count in chosen
    )
    report = PairsReport(
        heading=f"{asked.name} at {asked.size[0]}x{asked.size[1]}; {asked.how}\n"
        f"episodes drawn from {what.data}, seed {what.seed}",
        facts={
            "asked": asked.name,
            "how": asked.how,
            "size": list(asked.size),
            "pairs": list(asked.pairs),
            "seed": what.seed,
            "version": __version__,
        },
        results=results,
    )
    if what.report is not None:
        with kept_folder(what.report):
            report.write(what.report)
    return report

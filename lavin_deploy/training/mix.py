"""What a step is drawn from: a curriculum, and weights that the validation of every task steers.

A step's mix is the last entry whose ``first`` it has reached. Entries are made by validations and
depend on the weights at their step alone; they count from a few steps later on, since samples are
drawn ahead. So a resumed run makes the same entries again, and steps stay the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from lavin_deploy.errors import CheckpointError
from lavin_deploy.files import replaced_file
from lavin_deploy.training.loop.trainer import DRAWN_AHEAD
from lavin_deploy.training.validation import Held

LEAST, MOST = 0.5, 2.0
"""Bounds of what validation makes of a weight."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A mix.

    Attributes:
        first: step from which on it counts.
        beginning: whether it is the curriculum's beginning, see ``DiTRecipe.first_tasks``.
        weights: by task.
    """

    first: int
    beginning: bool
    weights: Mapping[str, float]


class Mix:
    """Entries of a run, kept in a file beside its states.

    Args:
        file: where.
        weights: by task, before any validation.
        beginning: whether the run begins with a curriculum.
        step: at which the run starts or goes on; later entries are made again.
        writes: whether this process writes the file.

    Raises:
        CheckpointError: the file is damaged.
    """

    def __init__(
        self,
        file: Path,
        weights: Mapping[str, float],
        *,
        beginning: bool,
        step: int,
        writes: bool = True,
    ) -> None:
        self.file, self.base, self.writes = file, dict(weights), writes
        self.entries = [Entry(first=0, beginning=beginning, weights=self.base)]
        if step and file.exists():
            try:
                entries = json.loads(file.read_text(encoding="utf-8"))
                rows = [row for row in entries if row["first"] <= step + DRAWN_AHEAD]
            except (ValueError, TypeError, KeyError) as error:
                raise CheckpointError(
                    f"{file} is damaged ({error}); delete it to begin the mix anew."
                ) from error
            for row in rows:
                # A resume with other tasks begins with their weights, one without a curriculum
                # has left it.
                same = set(row["weights"]) == set(weights)
                row["weights"] = row["weights"] if same else self.base
                row["beginning"] &= beginning
            self.entries = [Entry(**row) for row in rows]

    def at(self, step: int) -> Entry:
        """The entry of a step."""
        return next(entry for entry in reversed(self.entries) if entry.first <= step)

    def add(self, step: int, held: Mapping[str, Held], *, read_first: bool) -> None:
        """Note what a validation after ``step`` steps says.

        A family whose pairs are read less than the mean of all families is drawn more often, up to
        twice its weight, and one that is read more less often, down to half.

        Args:
            step: done.
            held: of every task.
            read_first: whether what the curriculum begins with is read well enough.
        """
        unread = {name: 1 - h.reading for name, h in held.items() if h.reading is not None}
        mean = sum(unread.values()) / max(1, len(unread))
        weights = dict(self.base)
        for name, share in unread.items():
            weights[name] *= min(MOST, max(LEAST, share / mean))
        beginning = self.entries[-1].beginning and not read_first
        self.entries.append(Entry(first=step + DRAWN_AHEAD, beginning=beginning, weights=weights))
        if not self.writes:
            return
        with replaced_file(self.file) as part:
            part.write_text(json.dumps([asdict(entry) for entry in self.entries], indent=1))

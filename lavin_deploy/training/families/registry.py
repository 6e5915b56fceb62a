"""Every family by name."""

from __future__ import annotations

from collections.abc import Mapping

from lavin_deploy.training.data.readers import SHOT
from lavin_deploy.training.families.atlas import Atlas
from lavin_deploy.training.families.follow import Follow, SameClass
from lavin_deploy.training.families.programs import Filters, Geometry
from lavin_deploy.training.families.propagate import Propagate
from lavin_deploy.training.families.region import FlatRegion, Region
from lavin_deploy.training.families.rule import Rule
from lavin_deploy.training.synthesis.collage import Collage
from lavin_deploy.training.tasks.base import Family

_ALL: tuple[type[Family], ...] = (
    *(Follow, SameClass, Region, FlatRegion, Rule, Filters, Geometry, Atlas, Propagate),
)
FAMILIES: Mapping[str, type[Family]] = {family.name: family for family in _ALL}


def makeable(data: Collage) -> list[str]:
    """Families that there are pictures for."""
    there = {kind for kind, pairs in data.labelled.items() if pairs}
    if data.shots:
        there.add(SHOT)
    return [
        name
        for name, family in FAMILIES.items()
        if not family.needs or there.intersection(family.needs)
    ]

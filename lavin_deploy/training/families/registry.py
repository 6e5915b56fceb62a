"""Every family by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lavin_deploy.training.families.follow import Follow, SameClass
from lavin_deploy.training.families.programs import Filters, Geometry
from lavin_deploy.training.families.region import FlatRegion, Region
from lavin_deploy.training.families.rule import Rule
from lavin_deploy.training.tasks.base import Family

FAMILIES: Mapping[str, Callable[..., Family]] = {
    family.name: family
    for family in (Follow, SameClass, Region, FlatRegion, Rule, Filters, Geometry)
}

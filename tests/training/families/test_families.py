"""Families: deterministic, answers that only the pair can tell, held-out members left alone."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lavin_deploy.errors import InputError
from lavin_deploy.evaluation.metrics import iou, mask_from_colours, psnr
from lavin_deploy.training.data.readers import SHOT_FRAMES
from lavin_deploy.training.families import region, rule
from lavin_deploy.training.families.atlas import Atlas
from lavin_deploy.training.families.follow import Follow, SameClass
from lavin_deploy.training.families.held_out_filters import HELD_OUT_FILTERS, turned
from lavin_deploy.training.families.heldout import HeldOutFamilies
from lavin_deploy.training.families.marks import Mark, draw_mark
from lavin_deploy.training.families.programs import (
    NEAR,
    PRIMITIVES,
    Filters,
    Geometry,
    NearHeldOut,
)
from lavin_deploy.training.families.propagate import Propagate
from lavin_deploy.training.families.region import Region
from lavin_deploy.training.families.registry import FAMILIES, makeable
from lavin_deploy.training.synthesis.camera_clips import pan
from lavin_deploy.training.synthesis.collage import Collage
from lavin_deploy.training.tasks.base import Group
from lavin_deploy.training.tasks.filters import FILTERS

pytestmark = pytest.mark.data
SIZE, COUNT = 48, 6


@pytest.fixture(scope="module")
def collage(data: Path) -> Collage:
    """Generated pictures, with a drawn atlas and shots of a moving camera beside them."""
    loaded = Collage.load(data, "train")
    rng = np.random.default_rng(0)
    slices = []
    for depth in range(20):
        labels = np.zeros((90, 110), np.uint8)
        for structure in range(1, 12):
            x, y = 18 + 30 * (structure % 3), 15 + 20 * (structure // 3)
            cv2.ellipse(labels, (x, y), (12, 8 + depth // 4), 0, 0, 360, structure, -1)
        slices.append((np.repeat((labels * 20)[..., None], 3, axis=2), labels))
    loaded.labelled["atlas_macaque_coronal"] = slices
    loaded.shots = [pan(rng, loaded, SHOT_FRAMES, 96) for _ in range(3)]
    return loaded


def groups(collage: Collage, name: str, count: int = 4, **how: bool) -> list[Group]:
    family = FAMILIES[name](collage, **how)
    return [family.group(np.random.default_rng(seed), SIZE, COUNT) for seed in range(count)]


@pytest.mark.parametrize("name", list(FAMILIES))
def test_a_group_is_what_its_seed_says(collage: Collage, name: str) -> None:
    (first,), (second,) = (groups(collage, name, 1) for _ in range(2))
    np.testing.assert_array_equal(np.stack(first.inputs), np.stack(second.inputs))
    np.testing.assert_array_equal(np.array(first.targets), np.array(second.targets))
    answers = FAMILIES[name].answers
    assert np.array(first.targets).shape == (COUNT, answers, SIZE, SIZE, 3)
    assert first.present.shape == (COUNT, answers)
    assert np.stack(first.inputs).dtype == np.array(first.targets).dtype == np.uint8
    other = FAMILIES[name](collage).group(np.random.default_rng(99), SIZE, COUNT)
    assert not np.array_equal(np.stack(first.inputs), np.stack(other.inputs))


@pytest.mark.parametrize("name", list(FAMILIES))
def test_the_same_pictures_have_different_answers(collage: Collage, name: str) -> None:
    for group in groups(collage, name):
        targets = np.array(group.targets).astype(int)
        for a in range(targets.shape[1]):
            for b in range(a):
                assert np.abs(targets[:, a] - targets[:, b]).max() > 30
        assert group.pairs.any(axis=0).all()


@pytest.mark.parametrize("name", ["follow", "class", "region", "region_flat", "rule"])
def test_masks_are_painted_where_the_shares_are(collage: Collage, name: str) -> None:
    for group in groups(collage, name, plain=True):
        assert group.shares is not None
        for item, row in enumerate(group.targets):
            for answer, target in enumerate(row):
                style = group.styles[answer]
                read = mask_from_colours(np.asarray(target), style.foreground, style.background)
                truth = group.shares[item, answer] > 0.5
                assert iou(read, truth) > 0.9 or abs(read.mean() - truth.mean()) < 0.01
        cover = group.shares.mean(axis=(2, 3))
        assert (cover[group.present] > 0.009).all()
        # A target of one colour does not show what is asked.
        assert (cover[group.present] < (rule.MOST + 1e-6 if name == "rule" else 0.98)).all()


@pytest.mark.parametrize("make", [Follow, SameClass])
def test_things_do_not_cover_each_other_twice(
    collage: Collage, make: Callable[[Collage], Follow | SameClass]
) -> None:
    for seed in range(4):
        shares = make(collage).group(np.random.default_rng(seed), SIZE, COUNT).shares
        assert shares is not None
        assert shares.min() >= 0
        assert shares[:, :2].sum(axis=1).max() < 1.001


def test_a_followed_thing_is_sometimes_away(collage: Collage) -> None:
    family = Follow(collage, held_out=True)
    covers = []
    for seed in range(30):
        shares = family.group(np.random.default_rng(seed), SIZE, COUNT).shares
        assert shares is not None
        covers.append(shares[:, 0].max(axis=(1, 2)))
    away = float((np.concatenate(covers) == 0).mean())
    assert 0.03 < away < 0.2


def test_regions_show_their_label_by_its_look(collage: Collage) -> None:
    """The mean colour of the marked label is nearer across pictures than to the rest."""
    nearer = 0
    total = 0
    for seed in range(12):
        group = Region(collage).group(np.random.default_rng(seed), SIZE, COUNT)
        assert group.shares is not None
        inside, outside = [], []
        for picture, share in zip(group.inputs, group.shares[:, 0] > 0.5, strict=True):
            if 0.01 < share.mean() < 0.9:
                inside.append(picture[share].mean(axis=0))
                outside.append(picture[~share].mean(axis=0))
        for number in range(1, len(inside)):
            total += 1
            nearer += np.linalg.norm(inside[0] - inside[number]) < np.linalg.norm(
                inside[0] - outside[number]
            )
    assert nearer / total > 0.8


def test_no_drawn_filter_is_a_held_out_one(collage: Collage) -> None:
    near = NearHeldOut(collage)
    for held_out in (*HELD_OUT_FILTERS.values(), *FILTERS.values()):
        assert near(held_out)
    assert not near(lambda image: image)
    family = Filters(collage)
    rng = np.random.default_rng(0)
    photos = near.photos
    for _ in range(150):
        program = family.program(rng)
        result = np.stack([program(photo) for photo in photos])
        for other in (*HELD_OUT_FILTERS.values(), *FILTERS.values()):
            assert psnr(result, np.stack([other(photo) for photo in photos])) < NEAR


def test_the_draw_meets_held_out_filters_and_throws_them_away(collage: Collage) -> None:
    """Without the rule some would be learnt: the rule is not idle."""
    near = NearHeldOut(collage)
    rng = np.random.default_rng(1)
    family = Geometry(collage)
    family.near = lambda program: False  # type: ignore[assignment,method-assign]
    assert any(near(family.program(rng)) for _ in range(300))


def test_geometry_never_turns_by_180(collage: Collage) -> None:
    family = Geometry(collage)
    rng = np.random.default_rng(0)
    photo = collage.photo(rng, SIZE)
    for _ in range(200):
        assert psnr(family.program(rng)(photo)[None], turned(photo)[None]) < NEAR + 6


@pytest.mark.parametrize("name", list(HELD_OUT_FILTERS))
def test_held_out_filters_change_a_picture_much(collage: Collage, name: str) -> None:
    rng = np.random.default_rng(0)
    photos = [collage.photo(rng, SIZE) for _ in range(8)]
    changed = [HELD_OUT_FILTERS[name](photo) for photo in photos]
    assert all(image.shape == (SIZE, SIZE, 3) and image.dtype == np.uint8 for image in changed)
    assert np.mean([psnr(a[None], b[None]) for a, b in zip(photos, changed, strict=True)]) <= 18


def test_rules_paint_by_their_attribute() -> None:
    image = np.zeros((32, 32, 3), np.uint8)
    image[:, 16:] = (200, 40, 40)
    red = rule.HELD_OUT_ATTRIBUTES["red"](image)
    for each in (rule._lightness(image), rule._saturation(image), rule._toward(0)(image), red):
        assert each[:, 20:].min() > each[:, :12].max()
    assert (red[:, :12] == 0).all()
    assert (red[:, 20:] == 200).all()
    masks = rule.in_range(np.random.default_rng(0), np.stack([red] * 2))
    assert set(np.unique(masks)) <= {0, 1}


def test_rules_that_are_trained_on_ask_for_nothing_like_the_held_out_ones() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)

    def values(attribute: rule.Attribute) -> NDArray[np.float32]:
        return np.asarray(attribute(colours), np.float32).ravel()

    held = {name: values(each) for name, each in rule.HELD_OUT_ATTRIBUTES.items()}
    likeness: dict[str, list[float]] = {name: [] for name in held}
    for seed in range(300):
        drawn = values(rule.draw_attribute(np.random.default_rng(seed)))
        for name, each in held.items():
            likeness[name].append(abs(float(np.corrcoef(drawn, each)[0, 1])))
    nearest = {name: max(each) for name, each in likeness.items()}
    assert nearest["red"] < 0.95
    assert nearest["hue 3"] < 0.975
    assert nearest["hue 7"] < 0.975
    assert nearest["coarse texture"] < 0.9
    # They lie on all sides, so that what is between is not new.
    assert all(max(each) > 0.8 for name, each in likeness.items() if name != "coarse texture")
    spreads = [values(rule.draw_attribute(np.random.default_rng(k))).std() for k in range(60)]
    assert len(np.unique(np.round(spreads, 3))) > 40  # more than a table has


@pytest.mark.parametrize("name", ["follow", "class"])
def test_a_pair_shows_what_else_could_have_been_marked(collage: Collage, name: str) -> None:
    for group in groups(collage, name, 6):
        assert group.shares is not None
        cover = group.shares.mean(axis=(2, 3))
        assert (cover[group.pairs.any(axis=1)] > 0.009).all()
        assert (group.present | ~group.pairs).all()
        away = (cover < 0.001).any(axis=1) & group.present.any(axis=1)
        assert not group.pairs[away].any()


@pytest.mark.parametrize("name", ["atlas", "propagate"])
def test_items_of_one_picture_say_so(collage: Collage, name: str) -> None:
    group = FAMILIES[name](collage).group(np.random.default_rng(0), SIZE, 16)
    assert len(set(group.sources.tolist())) < 16


def test_a_shot_is_carried_alike_in_threads(collage: Collage) -> None:
    family = Propagate(collage)

    def draw(seed: int) -> NDArray[np.float32]:
        shares = family.group(np.random.default_rng(seed), SIZE, 7).shares
        assert shares is not None
        return shares

    alone = [draw(seed) for seed in range(6)]
    with ThreadPoolExecutor(3) as pool:
        for expected, found in zip(alone, pool.map(draw, range(6)), strict=True):
            np.testing.assert_array_equal(expected, found)


def test_dark_pictures_have_their_maps_too(collage: Collage) -> None:
    thing = cv2.circle(np.zeros((32, 32, 4), np.uint8), (16, 16), 12, (9, 9, 9, 255), -1)
    dark = Collage([np.full((64, 64, 3), 9, np.uint8)], [thing])
    family = Geometry(dark)
    family.near = NearHeldOut(collage)
    assert len(family.group(np.random.default_rng(0), SIZE, 2).targets[0]) == family.answers


@pytest.mark.unit
def test_held_out_members_are_no_trained_ones() -> None:
    assert region.band_labels not in region.SHAPES
    assert not set(HELD_OUT_FILTERS) & {primitive.__name__ for primitive in PRIMITIVES}


@pytest.mark.parametrize("name", ["region", "region_flat", "rule"])
def test_held_out_members_are_drawn_where_they_are_asked_for(collage: Collage, name: str) -> None:
    trained, held = (groups(collage, name, 3, held_out=each) for each in (False, True))
    for first, second in zip(trained, held, strict=True):
        assert not np.array_equal(np.array(first.targets), np.array(second.targets))


@pytest.mark.unit
def test_marks_are_drawn_in_every_way() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_mark(rng) for _ in range(400)]
    assert any(mark.outline for mark in drawn)
    assert any(mark.soft for mark in drawn)
    assert any(mark.style.foreground == (0, 0, 0) for mark in drawn)
    assert len({mark.style.foreground for mark in drawn}) > 200
    plain = [draw_mark(rng, plain=True) for _ in range(100)]
    assert not any(mark.outline or mark.soft for mark in plain)
    share = np.zeros((32, 32), np.float32)
    share[8:24, 8:24] = 1
    line = Mark(style=plain[0].style, outline=True).paint(share)
    style = plain[0].style
    read = mask_from_colours(line, style.foreground, style.background)
    assert not read[15, 15]
    assert read[8, 15]


def test_families_without_pictures_are_left_out(data: Path, collage: Collage) -> None:
    plain = Collage.load(data, "train")
    assert set(FAMILIES) - set(makeable(plain)) == {"atlas", "propagate"}
    assert makeable(collage) == list(FAMILIES)
    for name in ("atlas", "propagate"):
        with pytest.raises(InputError, match=f"family '{name}'"):
            FAMILIES[name](plain)
    names = {name for name, _ in HeldOutFamilies(data, size=SIZE, pairs=1).families}
    assert names == set(makeable(plain))


def test_an_atlas_keeps_every_fifth_structure_for_tests(collage: Collage) -> None:
    labels = np.stack([target for _, target in collage.labelled["atlas_macaque_coronal"]])
    for held in (False, True):
        family = Atlas(collage, held_out=held)
        rng = np.random.default_rng(0)
        seen = {
            int(label)
            for _ in range(40)
            for label in np.unique(labels[family._mask(rng, labels) > 0])
        }
        assert seen
        assert set(seen) <= {5, 10} if held else not set(seen) & {5, 10}


def test_regions_are_carried_with_the_camera(collage: Collage) -> None:
    """A film of a camera that pans: carried regions keep their colours, and most is known."""
    family = Propagate(collage)
    near, known = [], []
    for seed in range(6):
        group = family.group(np.random.default_rng(seed), 64, 7)
        assert group.shares is not None
        assert group.known is not None
        known.append(group.known.mean())
        for answer in range(family.answers):
            inside = group.shares[:, answer] > 0.5
            colours = [
                picture[mask].mean(axis=0)
                for picture, mask in zip(group.inputs, inside, strict=True)
                if mask.mean() > 0.02
            ]
            near += [np.abs(colours[0] - colour).mean() for colour in colours[1:]]
    assert np.mean(known) > 0.6
    assert np.median(near) < 12

"""The training data: prepared pictures, collages, rendered scenes and the tasks made of them."""

from __future__ import annotations

import json
import subprocess
import tarfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from lavin_deploy.cli.data import data as data_command
from lavin_deploy.errors import InputError, WorkError
from lavin_deploy.tasks.metrics import psnr
from lavin_deploy.tasks.samples import Style
from lavin_deploy.training import appearance, curate, generated, packages, readers, scenes, sources
from lavin_deploy.training.collage import Collage
from lavin_deploy.training.episodes import (
    NEVER_TRAINED,
    TASKS,
    available,
    load_tasks,
)
from lavin_deploy.training.inventory import Inventory, Item
from lavin_deploy.training.labelled import LABELLED
from lavin_deploy.training.packages import Package, verify
from lavin_deploy.training.pictures import boundaries, far_colours
from lavin_deploy.training.readers import Picture
from lavin_deploy.training.restoration import HARMS
from lavin_deploy.training.shards import Shards, ShardWriter

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of generated pictures: no network, no package."""
    out = tmp_path_factory.mktemp("data")
    sources.prepare(out, cache=out / "cache", sources=["generated"])
    return out


@pytest.fixture(scope="module")
def collage(prepared: Path) -> Collage:
    return Collage.load(prepared, "train")


# prepare


def test_without_a_network_generated_pictures_stand_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def offline(*args: object, **kwargs: object) -> None:
        raise subprocess.CalledProcessError(1, "client", stderr=b"W: noise\nE: no route\n")

    monkeypatch.setattr(packages.subprocess, "run", offline)
    inventory = sources.prepare(tmp_path / "out", cache=tmp_path / "cache")
    assert inventory.missing == tuple(sources.SOURCES)
    assert {item.package for item in inventory.items} == {"generated"}
    left_out = [record for record in caplog.records if "left out" in record.message]
    assert len(left_out) == len(sources.SOURCES)
    assert all("no route" in record.message for record in left_out)


def test_a_source_asked_for_by_name_must_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*args: object, **kwargs: object) -> None:
        raise FileNotFoundError("apt-get")

    monkeypatch.setattr(packages.subprocess, "run", offline)
    with pytest.raises(WorkError, match="stamps"):
        sources.prepare(tmp_path / "out", cache=tmp_path, sources=["stamps"])


def test_splits_share_no_source_file(prepared: Path) -> None:
    inventory = Inventory.load(prepared)
    splits = defaultdict(set)
    for item in inventory.items:
        assert Shards(prepared).read(item.path)
        assert item.license
        splits[item.package, item.file].add(item.split)
    assert all(len(found) == 1 for found in splits.values())
    assert set(inventory.counts()) == {"cutout/test", "cutout/train", "photo/test", "photo/train"}


def test_look_alike_stamps_stay_in_one_split() -> None:
    names = [f"animals/cats/{stem}" for stem in ("lion", "lion-2", "lion_3", "Lion4")]
    assert len({curate.group_of(name) for name in names}) == 1
    photos = ("a/tajMahal.jpg", "b/TajMahal_background.webp", "c/tajmahal2.webp")
    assert len({curate.subject_of(file) for file in photos}) == 1
    many = [f"food/{letter * 3}.png" for letter in "abcdefghij"]
    assert len(readers.hold_out_groups(many)) == 2


def test_preparing_again_keeps_what_is_whole_and_removes_what_is_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = sources.prepare(tmp_path, sources=["generated"])
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    stale = "photo-train-000009.tar"
    for name in (stale, "photo-test-000003.tar.partial"):
        (tmp_path / name).write_bytes(b"old")
    (tmp_path / "mine.tar").write_bytes(b"of the user")
    extra = Item(**{**vars(first.items[0]), "id": "old", "package": "p", "path": f"{stale}/o.jpg"})
    replace(first, items=(*first.items, extra)).save(tmp_path)

    def again(*args: object) -> None:
        raise AssertionError("a source that is whole is prepared again")

    with monkeypatch.context() as patch:
        patch.setattr(sources, "_write", again)
        assert sources.prepare(tmp_path, sources=["generated"]) == first
    (tmp_path / "mine.tar").unlink()
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    (tmp_path / "cutout-test-000000.tar").unlink()  # a lost shard is made again
    second = sources.prepare(tmp_path, sources=["generated"])
    assert second.counts() == first.counts()
    assert len(Collage.load(tmp_path, "test").pyramids) == first.counts()["cutout/test"]


def test_an_interrupted_preparation_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def read(name: str, fails: bool) -> Iterator[Picture]:
        calls.append(name)
        for number in range(3):
            if fails and number == 2:
                raise KeyboardInterrupt
            yield Picture(
                image=generated.photo(np.random.default_rng(number)),
                file=f"{name}-{number}.jpg",
                license="CC0-1.0",
                attribution="A",
                test=number == 0,
            )

    def made(name: str, fails: bool = False) -> sources.Source:
        package = Package(name=name, version="1", client="wheel", sha256=name, size=1)
        return sources.Source(package=package, kind="photo", read=lambda _: read(name, fails))

    monkeypatch.setattr(sources, "fetch", lambda *args: tmp_path)
    monkeypatch.setattr(sources, "SOURCES", {"a": made("a"), "b": made("b", fails=True)})
    with pytest.raises(KeyboardInterrupt):
        sources.prepare(tmp_path)
    assert not list(tmp_path.glob("*.partial"))
    assert {item.package for item in Inventory.load(tmp_path).items} == {"a"}
    monkeypatch.setattr(sources, "SOURCES", {"a": made("a"), "b": made("b")})
    whole = sources.prepare(tmp_path)
    assert calls == ["a", "b", "b"]
    assert whole.counts()["photo/train"] == 4
    assert len(Collage.load(tmp_path, "train").photos) == 4
    fresh = replace(made("a").package, sha256="another version")
    monkeypatch.setitem(sources.SOURCES, "a", replace(made("a"), package=fresh))
    assert sources.prepare(tmp_path).counts() == whole.counts()
    assert calls[3:] == ["a"]


def test_shards_keep_the_files_of_a_sample_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lavin_deploy.training.shards.SHARD_SAMPLES", 2)
    with ShardWriter(tmp_path, {"k-train-000001.tar"}) as writer:
        shards = [
            writer.add("k-train", f"s{n}", {"png": bytes([n]), "target.png": b"t", "json": b"{}"})
            for n in range(5)
        ]
    assert shards == [f"k-train-{n:06d}.tar" for n in (0, 0, 2, 2, 3)]
    with tarfile.open(tmp_path / shards[2]) as tar:
        names = tar.getnames()
    assert names == ["s2.png", "s2.target.png", "s2.json", "s3.png", "s3.target.png", "s3.json"]
    read = Shards(tmp_path)
    assert read.read(f"{shards[3]}/s3.png") == b"\x03"
    for path in (f"{shards[3]}/s1.png", "k-train-000001.tar/s2.png"):
        with pytest.raises(InputError, match="prepare the folder again"):
            read.read(path)


def test_every_sample_has_its_licence_beside_it(prepared: Path) -> None:
    for item in Inventory.load(prepared).items:
        shard, _, member = item.path.partition("/")
        beside = Shards(prepared).read(f"{shard}/{item.id}.json")
        assert json.loads(beside) == {**vars(item), "path": member}
        assert "." not in item.id


def test_a_wrong_hash_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = Package(name="p", version="1", client="deb", sha256="0" * 64, size=3)
    (tmp_path / "p_1.deb").write_bytes(b"abc")
    with pytest.raises(WorkError, match="pinned"):
        verify(package, tmp_path / "p_1.deb")

    def deliver(command: list[str], cwd: str, **kwargs: object) -> None:
        assert command == ["apt-get", "download", "p=1"]
        (Path(cwd) / "p_1.deb").write_bytes(b"abc")

    monkeypatch.setattr(packages.subprocess, "run", deliver)
    with pytest.raises(WorkError, match="pinned"):
        packages.fetch(package, tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_what_is_cached_is_not_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    package = Package(name="p", version="1", client="wheel", sha256=digest, size=3)
    calls = []

    def deliver(command: list[str], cwd: str, **kwargs: object) -> None:
        calls.append(command)
        (Path(cwd) / "p-1.whl").write_bytes(b"abc")

    monkeypatch.setattr(packages.subprocess, "run", deliver)
    assert packages.fetch(package, tmp_path) == packages.fetch(package, tmp_path)
    assert len(calls) == 1
    (tmp_path / "p-1.whl").write_bytes(b"abd")  # damaged since
    packages.fetch(package, tmp_path)
    assert len(calls) == 2


def test_licences_come_from_the_copyright_file() -> None:
    rights = curate.CopyrightFile(
        "Format: x\n\nFiles: *\nCopyright: 2010 A\n 2011 B\nLicense: GPL-3+\n\n"
        "Files: src/a/fish.jpg\n src/b/*\nCopyright: C\nLicense: CC-BY-2.0\n\nLicense: MIT\n text\n"
    )
    assert rights.look_up("src/a/fish.webp") == ("CC-BY-2.0", "C")
    assert rights.look_up("src/b/x.webp")[0] == "CC-BY-2.0"
    assert rights.look_up("src/c/x.webp") == ("GPL-3+", "2010 A 2011 B")
    assert curate.licence_allowed("public-domain")
    assert not curate.licence_allowed("GFDL-NIV-1.2+")
    assert not curate.licence_allowed("unstated")


def test_the_command_prepares_and_explains(tmp_path: Path) -> None:
    runner = CliRunner()
    done = runner.invoke(
        data_command, ["prepare", "--sources", "generated", "--out", str(tmp_path)]
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["counts"]["photo/train"] > 0
    wrong = runner.invoke(data_command, ["prepare", "--sources", "stamp", "--out", str(tmp_path)])
    assert wrong.exit_code == 2
    assert "Did you mean 'stamps'" in wrong.stderr
    assert "Traceback" not in wrong.output


def test_a_folder_that_is_not_prepared_is_explained(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lavin-data prepare"):
        Collage.load(tmp_path, "train")
    (tmp_path / "inventory.json").write_text('{"items": [{}]')
    with pytest.raises(InputError, match="damaged"):
        Collage.load(tmp_path, "train")


# collage


@pytest.mark.parametrize("size", [48, 64])
def test_collage_covers_the_asked_share_and_is_consistent(collage: Collage, size: int) -> None:
    rng = np.random.default_rng(0)
    for _ in range(25):
        scene = collage.sample(rng, size)
        assert scene.image.shape == (size, size, 3)
        assert scene.image.dtype == np.uint8
        fine = scene.fine_instances > 0
        assert 0.05 <= fine.mean() <= 0.40
        means = fine.reshape(size, 2, size, 2).mean(axis=(1, 3))
        np.testing.assert_allclose(scene.coverage, means, atol=1e-6)
        np.testing.assert_array_equal(scene.instances, scene.fine_instances[1::2, 1::2])
        # The soft alpha and the hard mask show the same thing.
        assert np.abs(scene.alpha - scene.coverage).mean() < 0.06


def test_a_pasted_disc_lies_where_the_mask_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Analytic: a plain red disc over plain blue; the picture must agree with the mask."""
    monkeypatch.setattr(appearance, "recolour", lambda rng, layer, *rest: layer[..., :3])
    y, x = np.mgrid[-32:32, -32:32] + 0.5
    disc = np.zeros((64, 64, 4), np.uint8)
    disc[..., 0], disc[..., 3] = 255, np.where(np.hypot(x, y) < 31, 255, 0)
    blue = np.zeros((80, 80, 3), np.uint8)
    blue[..., 2] = 255
    collage = Collage([blue], [disc])
    for seed in range(5):
        scene = collage.sample(np.random.default_rng(seed), 96)
        red = scene.image[..., 0].astype(int) - scene.image[..., 2] > 0
        assert (red != (scene.coverage > 0.5)).mean() < 0.02


def test_the_same_seed_gives_the_same_sample(prepared: Path) -> None:
    for name, task in load_tasks(prepared, "test").items():
        first, again = (
            task.sample(rng, task.draw_style(rng), 32)
            for rng in (np.random.default_rng(7), np.random.default_rng(7))
        )
        np.testing.assert_array_equal(first.input, again.input, err_msg=name)
        np.testing.assert_array_equal(first.target, again.target, err_msg=name)


# tasks


@pytest.mark.parametrize("name", [name for name in TASKS if name not in LABELLED])
def test_every_task_gives_pictures_of_the_asked_size(collage: Collage, name: str) -> None:
    task = TASKS[name](collage)
    assert task.name == name
    rng = np.random.default_rng(1)
    style = task.draw_style(rng)
    json.dumps(vars(style))
    for size in (32, 64):
        drawn = task.sample(rng, style, size)
        for image in (drawn.input, drawn.target):
            assert image.shape == (size, size, 3)
            assert image.dtype == np.uint8


def test_segmentation_paints_exactly_the_two_colours(collage: Collage) -> None:
    task = TASKS["segmentation"](collage)
    rng = np.random.default_rng(2)
    for _ in range(20):
        style = task.draw_style(rng)
        target = task.sample(rng, style, 64).target.reshape(-1, 3)
        front = (target == style.foreground).all(axis=1).mean()
        back = (target == style.background).all(axis=1).mean()
        assert 0.02 < front < 0.42
        assert back > 0.5
        assert front + back > 0.75  # the rest is the antialiased rim


def test_polarities_and_colours_vary_between_episodes(collage: Collage) -> None:
    task = TASKS["segmentation"](collage)
    rng = np.random.default_rng(3)
    styles = [task.draw_style(rng) for _ in range(100)]
    on_black = sum(style.background == (0, 0, 0) for style in styles)
    black_on = sum(style.foreground == (0, 0, 0) for style in styles)
    assert min(on_black, black_on, 100 - on_black - black_on) > 20  # no kind is rare
    assert len(set(styles)) > 80
    first, second = far_colours(rng)
    assert np.linalg.norm(np.subtract(first, second)) >= 100


def test_inpainting_hides_one_grey_square(collage: Collage) -> None:
    task = TASKS["inpainting"](collage)
    drawn = task.sample(np.random.default_rng(4), task.draw_style(np.random.default_rng(0)), 64)
    changed = (drawn.input != drawn.target).any(axis=2)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert 12 <= rows[-1] - rows[0] + 1 <= 20
    assert 12 <= columns[-1] - columns[0] + 1 <= 20
    assert (drawn.input[changed] == 127).all()


def test_denoising_adds_the_noise_of_its_style(collage: Collage) -> None:
    task = TASKS["denoising"](collage)
    rng = np.random.default_rng(5)
    style = task.draw_style(rng)
    drawn = task.sample(rng, style, 64)
    inner = (drawn.target > 100) & (drawn.target < 155)
    error = drawn.input.astype(float)[inner] - drawn.target[inner]
    assert abs(error.std() - style.strength) < 0.15 * style.strength


def test_boundaries_are_a_line_between_instances() -> None:
    fine = np.zeros((32, 32), np.uint8)
    fine[:, 16:] = 1
    line = boundaries(fine)
    assert line[:, :7].max() == 0
    assert line[:, 10:].max() == 0
    np.testing.assert_allclose(line.sum(axis=1), 1.5)


def test_unknown_task_gets_a_hint(prepared: Path) -> None:
    with pytest.raises(InputError, match="Did you mean 'depth'"):
        load_tasks(prepared, "train", ["dept"])


# scenes


def _world(*primitives: scenes.Primitive, size: int = 65) -> scenes.World:
    grey = np.full((8, 8, 3), 128, np.uint8)
    return scenes.World(
        primitives=primitives,
        textures=[grey] * len(primitives),
        sky=np.zeros((size, size, 3), np.uint8),
        light=np.array([0, 0, -1], np.float32),
        view=0.5,
    )


def test_a_sphere_is_where_geometry_puts_it() -> None:
    ball = scenes.Sphere(centre=np.array([0, 0, 4], np.float32), radius=1.0)
    scene = scenes.render(_world(ball), 65)
    assert scene.depth is not None
    assert scene.normals is not None
    assert scene.depth[32, 32] == pytest.approx(3.0, abs=1e-4)
    np.testing.assert_allclose(scene.normals[32, 32], [0, 0, 1], atol=1e-3)
    assert np.isinf(scene.depth[0, 0])
    # Silhouette: the tangent cone has tan(a) = r / sqrt(d^2 - r^2).
    radius = 1 / np.sqrt(15) / 0.5 * 65 / 2
    assert scene.coverage.sum() == pytest.approx(np.pi * radius**2, rel=0.02)
    # Every hit point lies on the sphere, and its normal points away from the centre.
    axis = ((np.arange(65) + 0.5) * (2 / 65) - 1) * 0.5
    rows, columns = np.nonzero(np.isfinite(scene.depth))
    z = scene.depth[rows, columns]
    points = np.stack([axis[columns] * z, -axis[rows] * z, z], axis=1)
    away = points - [0, 0, 4]
    np.testing.assert_allclose(np.linalg.norm(away, axis=1), 1, atol=1e-3)
    np.testing.assert_allclose(scene.normals[rows, columns], away * [1, 1, -1], atol=1e-3)


def test_box_cylinder_and_plane_are_where_geometry_puts_them() -> None:
    centre = np.array([0, 0, 5], np.float32)
    box = scenes.Box(centre=centre, half=np.array([1, 1, 2], np.float32), yaw=0.0)
    tall = scenes.Cylinder(centre=centre, radius=1.5, half=1.0)
    wall = scenes.Plane(
        point=np.array([0, 0, 7], np.float32), facing=np.array([0, 0, -1], np.float32)
    )
    for thing, expected in ((box, 3.0), (tall, 3.5), (wall, 7.0)):
        scene = scenes.render(_world(thing), 65)
        assert scene.depth is not None
        assert scene.normals is not None
        assert scene.depth[32, 32] == pytest.approx(expected, abs=1e-3)
        np.testing.assert_allclose(scene.normals[32, 32], [0, 0, 1], atol=2e-2)
    both = scenes.render(_world(wall, box), 65)
    assert both.instances[32, 32] == 2
    assert both.instances[0, 0] == 1


def test_depth_picture_is_inverse_and_near_is_bright() -> None:
    depth = np.array([[1, 2], [4, np.inf]], np.float32)
    np.testing.assert_array_equal(scenes.depth_image(depth), [[255, 128], [64, 0]])


def test_drawn_scenes_have_objects_and_unit_normals(collage: Collage) -> None:
    rng = np.random.default_rng(6)
    for _ in range(5):
        scene = scenes.sample(rng, collage.photos, 48)
        assert scene.normals is not None
        length = np.linalg.norm(scene.normals, axis=2)
        hit = scene.instances > 0
        np.testing.assert_allclose(length[hit], 1, atol=1e-3)
        assert (length[~hit] == 0).all()
        assert scene.normals[hit][:, 2].min() > -1 + 1e-3


def test_curation_drops_flat_and_dark_pictures() -> None:
    rng = np.random.default_rng(8)
    assert not curate.looks_like_photo(np.zeros((200, 200, 3), np.uint8))
    flat = np.repeat(np.repeat(rng.integers(0, 255, (4, 4, 3)), 50, 0), 50, 1).astype(np.uint8)
    assert not curate.looks_like_photo(flat)
    assert curate.looks_like_photo(generated.photo(rng))
    assert Image.fromarray(generated.cutout(rng)).mode == "RGBA"


def test_a_scene_of_256_pixels(collage: Collage) -> None:
    """One surface can fill more than OpenCV looks up in one row."""
    largest = 0
    for seed in range(3):
        scene = scenes.sample(np.random.default_rng(seed), collage.photos, 256)
        largest = max(largest, int(np.bincount(scene.instances.ravel()).max()))
    assert largest > 32_766


# restoration and what is never trained


@pytest.mark.parametrize("name", HARMS)
def test_harm_grows_with_its_strength(collage: Collage, name: str) -> None:
    harm = HARMS[name]
    means = []
    for strength in (harm.least, harm.most):
        scores = []
        for seed in range(12):
            rng = np.random.default_rng(seed)
            whole = collage.photo(rng, 64)
            harmed = harm.degrade(rng, whole, strength)
            assert (harmed.shape, harmed.dtype) == (whole.shape, np.uint8)
            scores.append(psnr(harmed, whole))
        means.append(np.mean(scores))
    assert 60 > means[0] > means[1] + 0.5
    assert means[1] > 5


def test_harm_leaves_flat_pictures_alone_where_it_should() -> None:
    grey = np.full((64, 64, 3), 120, np.uint8)
    rng = np.random.default_rng(0)
    for name in ("deblurring", "motion_deblurring", "super_resolution", "glass_deblurring"):
        assert np.abs(HARMS[name].degrade(rng, grey, HARMS[name].most).astype(int) - 120).max() <= 1


def test_no_model_is_trained_on_what_tests_reading_from_pairs(collage: Collage) -> None:
    assert not set(NEVER_TRAINED) & set(TASKS)
    rng = np.random.default_rng(3)
    samples = {
        n: made.sample(rng, Style(), 32) for n, made in available(NEVER_TRAINED, collage).items()
    }
    assert np.array_equal(samples["negative"].target, 255 - samples["negative"].input)
    for name in ("sepia", "sketch"):
        target = samples[name].target.astype(int)
        spread = np.ptp(target, axis=-1)
        assert (spread == 0).all() if name == "sketch" else (target[..., 0] >= target[..., 2]).all()


def test_removal_keeps_what_no_object_covers(collage: Collage) -> None:
    sample = TASKS["removal"](collage).sample(np.random.default_rng(5), Style(), 64)
    same = np.abs(sample.input.astype(int) - sample.target).max(axis=-1) < 40
    assert 0.4 < same.mean() < 1

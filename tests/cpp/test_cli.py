"""lavin_cli as a person or a script calls it."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

import lavin_deploy as lavin
from lavin_deploy.runtime.media.images import read_image
from tests.conftest import GOLDEN, ROOT
from tests.helpers import icc, pngs
from tests.helpers.processes import started
from tests.runtime.media import test_cut_jpeg

pytestmark = pytest.mark.cli

TOY = GOLDEN / "toy.lavin"


def run(cpp: Path, *words: object, bundle: Path = TOY) -> subprocess.CompletedProcess[str]:
    command = [str(cpp / "lavin_cli"), "--bundle", str(bundle), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(1).integers(0, 256, (45, 70, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "in.png")
    return tmp_path / "in.png"


def test_answers_a_picture_as_python_does(cpp: Path, picture: Path, tmp_path: Path) -> None:
    out, target, latents = (tmp_path / name for name in ("out.png", "target.png", "latents.f32"))
    done = run(
        cpp, "--task=brighten", "--seed=3", "--json", f"--target={target}",
        f"--latents={latents}", picture, out,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["width"], summary["height"], summary["seed"]) == (70, 45, 3)
    assert {"encode", "sample", "decode"} < summary["stages"].keys()
    assert done.stderr.startswith("backend auto: onnxruntime ")
    with lavin.load(TOY) as model:
        mine = model.run("brighten", read_image(picture), seed=3)
    np.testing.assert_array_equal(read_image(out), mine.image)
    np.testing.assert_array_equal(read_image(target), mine.target)
    np.testing.assert_allclose(
        np.fromfile(latents, np.float32), mine.latents.ravel(), atol=1e-5, rtol=0
    )


def test_a_zip_with_what_people_s_tools_add_answers_as_the_folder(
    cpp: Path, picture: Path, tmp_path: Path
) -> None:
    path = tmp_path / "toy.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("__MACOSX/._toy.lavin", "Grüße.txt", "toy.lavin/.DS_Store", "toy.lavin/ä ö"):
            archive.writestr(name, b"no part of it " * 99, zipfile.ZIP_DEFLATED)
        for file in sorted(TOY.rglob("*")):
            if file.is_file():
                archive.write(file, f"toy.lavin/{file.relative_to(TOY).as_posix()}")
    done = run(cpp, "--task=brighten", picture, tmp_path / "out.png", bundle=path)
    assert done.returncode == 0, done.stderr
    with lavin.load(path) as model, lavin.load(TOY) as plain:
        expected = plain.run("brighten", read_image(picture)).image
        np.testing.assert_array_equal(model.run("brighten", read_image(picture)).image, expected)
    np.testing.assert_array_equal(read_image(tmp_path / "out.png"), expected)


def test_answers_while_python_replaces_its_task(cpp: Path, picture: Path, tmp_path: Path) -> None:
    toy = tmp_path / "toy.lavin"
    shutil.copytree(TOY, toy)
    code = """
import sys
from lavin_deploy.bundle import add_task, open_bundle
with open_bundle(sys.argv[1]) as bundle:
    (task,) = bundle.manifest.tasks
    place = task.file.removesuffix("task.json")
    names = [name for name in bundle.manifest.files if name.startswith(place)]
    files = {name.removeprefix(place): bundle.read(name) for name in names}
print("ready", flush=True)
while True:
    add_task(sys.argv[1], task.name, files, replace=True)
"""
    writer = started(code, toy)
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        for _ in range(12):
            done = run(cpp, "--task=brighten", picture, tmp_path / "out.png", bundle=toy)
            assert done.returncode == 0, done.stderr
        assert writer.poll() is None
    finally:
        writer.kill()
        writer.communicate()


def test_answers_by_pairs_and_given_noise(cpp: Path, picture: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(2).standard_normal((1, 16, 1, 2, 4)).astype(np.float32)
    noise.tofile(tmp_path / "noise.f32")
    done = run(
        cpp, "--pair", picture, picture, f"--noise={tmp_path / 'noise.f32'}", "--size=16x32",
        "--guidance=2", "--steps=2", picture, tmp_path / "out.png",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    frame = read_image(picture)
    with lavin.load(TOY) as model:
        mine = model.run(
            pairs=[(frame, frame)], query=frame, noise=noise, size=(16, 32), guidance=2, steps=2
        )
    np.testing.assert_array_equal(read_image(tmp_path / "out.png"), mine.image)


def test_the_bundle_that_ships(cpp: Path, tmp_path: Path) -> None:
    source = sorted((ROOT / "examples" / "tasks" / "segmentation").glob("*_input.*"))[0]
    bundle = ROOT / "lavin_deploy" / "bundles" / "edge.lavin"
    done = run(cpp, "--task=segmentation", source, tmp_path / "out.png", bundle=bundle)
    assert done.returncode == 0, done.stderr
    with lavin.load() as model:
        mine = model.run("segmentation", read_image(source))
    assert np.mean(read_image(tmp_path / "out.png") == mine.image) >= 0.9999


def _made(kind: str, folder: Path) -> Path:
    rng = np.random.default_rng(4)
    rgb = rng.integers(0, 256, (33, 41, 3), dtype=np.uint8)
    if kind == "grey":
        image = Image.fromarray(rgb[:, :, 0])
    elif kind == "grey16":
        image = Image.fromarray(rng.integers(0, 65536, (33, 41), dtype=np.uint16))
    elif kind == "alpha":
        alpha = np.stack([np.arange(256, dtype=np.uint8)] * 256)
        values = alpha.T
        image = Image.fromarray(np.dstack([values, values[::-1], values, alpha]))
    elif kind == "grey alpha":
        image = Image.fromarray(rgb).convert("LA")
    elif kind == "palette":
        image = Image.fromarray(rgb).convert("P")
    else:
        image = Image.fromarray(rgb)
    file = folder / f"{kind.replace(' ', '_')}.{kind if kind in ('ppm', 'jpg') else 'png'}"
    image.save(file)
    return file


@pytest.mark.parametrize(
    "kind", ["rgb", "grey", "grey16", "alpha", "grey alpha", "palette", "ppm", "jpg"]
)
def test_reads_pictures_as_python_does(cpp: Path, tmp_path: Path, kind: str) -> None:
    file = _made(kind, tmp_path)
    done = run(cpp, "--task=brighten", file, tmp_path / "out.png")
    assert done.returncode == 0, done.stderr
    with lavin.load(TOY) as model:
        mine = model.run("brighten", read_image(file))
    np.testing.assert_array_equal(read_image(tmp_path / "out.png"), mine.image)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turns_jpegs_as_their_exif_says(cpp: Path, tmp_path: Path, orientation: int) -> None:
    ramp = np.linspace(0, 255, 48 * 64 * 3).reshape(48, 64, 3).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(ramp).save(tmp_path / "in.jpg", exif=exif, quality=95)
    done = run(cpp, "--task=brighten", "--noise", _zeros(tmp_path), "--size=32x32",
               tmp_path / "in.jpg", tmp_path / "out.png")  # fmt: skip
    assert done.returncode == 0, done.stderr
    with lavin.load(TOY) as model:
        noise = np.zeros((1, 16, 1, 4, 4), np.float32)
        frame = read_image(tmp_path / "in.jpg")
        mine = model.run("brighten", frame, noise=noise, size=(32, 32)).image.astype(int)
    found = read_image(tmp_path / "out.png").astype(int)
    assert found.shape == mine.shape
    assert np.abs(found - mine).max() <= 1  # another release of libjpeg


def _coloured(kind: str, folder: Path) -> Path:
    rng = np.random.default_rng(5)
    rgb = rng.integers(0, 256, (33, 41, 3), dtype=np.uint8)
    wide = np.linspace(0, 65535, 33 * 41).reshape(33, 41).astype(np.uint16)
    file = folder / "in.png"
    image, options = Image.fromarray(rgb), {}
    content = None
    space = kind.partition(" in ")[2]
    if space:
        options = {"icc_profile": icc.rgb_profile(space)}
    if kind.startswith("alpha"):
        image = Image.fromarray(np.dstack([rgb, rgb[..., :1]]))
    elif kind.startswith("jpg of EXIF's"):
        file, image = folder / "in.jpg", Image.new("RGB", (41, 33), (200, 90, 60))
        options = {"exif": _adobe_exif(2 if kind.endswith("2") else 0xFFFF), "quality": 100}
    elif kind.startswith("jpg in"):
        file = folder / "in.jpg"
        image = Image.new("RGB", (41, 33), (200, 90, 60))
    elif kind == "grey profile":
        image, options = Image.fromarray(rgb[..., 0]), {"icc_profile": icc.grey_profile(1.0)}
    elif kind == "grey16 profile":
        image, options = Image.fromarray(wide), {"icc_profile": icc.grey_profile(1.0)}
    elif kind == "cmyk":
        file, image = folder / "in.jpg", Image.new("CMYK", (41, 33), (200, 90, 60, 20))
    elif kind == "cmyk profile":
        file, image = folder / "in.jpg", Image.new("CMYK", (41, 33), (200, 90, 60, 20))
        options = {"icc_profile": icc.cmyk_profile(_printer)}
    elif kind == "gamma":
        content = pngs.png(rgb, pngs.gama(1.0))
    elif kind == "gamma of grey16":
        content = pngs.png(wide, pngs.gama(1.0), bits=16)
    elif kind == "old sRGB":
        content = pngs.png(rgb, pngs.gama(0.45455))
    elif kind == "chromaticities":
        p3 = (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
        content = pngs.png(rgb, pngs.gama(0.45455), pngs.chrm(*p3))
    elif kind == "codes":
        content = pngs.png(rgb, pngs.gama(1), pngs.chunk(b"cICP", bytes([12, 13, 0, 1])))
    elif kind == "key of grey16":
        content = pngs.png(wide, pngs.trns(int(wide[3, 3])), bits=16)
    elif kind == "key of rgb16":
        content = pngs.png(
            257 * rgb.astype(int), pngs.trns(*(257 * rgb[3, 3].astype(int))), bits=16
        )
    elif kind == "key of grey2":
        content = pngs.png(rgb[..., 0] // 64, pngs.trns(1), bits=2)
    elif kind == "turned by XMP":
        options = {"pnginfo": _texts("XML:com.adobe.xmp", XMP)}
    elif kind == "jpg turned by XMP":
        file, options = folder / "in.jpg", {"xmp": XMP.encode(), "quality": 100, "subsampling": 0}
    elif kind == "jpg of EXIF and XMP":
        exif = Image.Exif()
        exif[0x0112] = 8
        file = folder / "in.jpg"
        options = {"xmp": XMP.encode(), "exif": exif, "quality": 100, "subsampling": 0}
    elif kind == "jpg of EXIF that says nothing":
        exif = Image.Exif()
        exif[0x010E] = "a description"
        file = folder / "in.jpg"
        options = {"xmp": XMP.encode(), "exif": exif, "quality": 100, "subsampling": 0}
    elif kind.startswith("turned by a raw profile"):
        exif = Image.Exif()
        exif[0x0112] = 5
        held = b"Exif\0\0" + exif.tobytes().removeprefix(b"Exif\0\0")
        text = f"\nexif\n    {len(held)}\n{held.hex()}\n"
        options = {"pnginfo": _texts("Raw profile type exif", text, packed="packed" in kind)}
    elif kind.startswith("turned"):
        exif = Image.Exif()
        exif[0x0112] = {"turned": 6, "turned by 0": 0, "turned by 9": 9}[kind]
        options = {"exif": exif}
    if content is None:
        image.save(file, **options)
    else:
        file.write_bytes(content)
    return file


XMP = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="3"/></x:xmpmeta>'


def _texts(name: str, text: str, *, packed: bool = False) -> PngImagePlugin.PngInfo:
    texts = PngImagePlugin.PngInfo()
    if name.startswith("XML"):
        texts.add_itxt(name, text, zip=packed)
    else:
        texts.add_text(name, text, zip=packed)
    return texts


def _adobe_exif(space: int) -> Image.Exif:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = space
    if space == 0xFFFF:
        exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    return exif


def _printer(inks: tuple[int, ...]) -> tuple[float, float, float]:
    c, m, y, k = inks
    light = 100 * (1 - k) * (1 - 0.4 * c) * (1 - 0.5 * m) * (1 - 0.1 * y)
    return light, (60 * m - 30 * c) * (1 - k), (80 * y - 40 * c) * (1 - k)


@pytest.mark.parametrize(
    "kind",
    [
        *("rgb in Display P3", "rgb in Adobe RGB", "rgb in ProPhoto", "rgb in sRGB"),
        *("alpha in Display P3", "jpg in Adobe RGB", "grey profile", "grey16 profile"),
        *("cmyk", "cmyk profile", "gamma", "gamma of grey16", "old sRGB", "chromaticities"),
        *("codes", "key of grey16", "key of rgb16", "key of grey2"),
        *("turned", "turned by 0", "turned by 9", "turned by XMP", "jpg turned by XMP"),
        *("jpg of EXIF and XMP", "jpg of EXIF that says nothing"),
        *("turned by a raw profile", "turned by a raw profile, packed"),
        *("jpg of EXIF's Adobe RGB", "jpg of EXIF's colour space 2"),
    ],
)
def test_colours_are_those_of_python(cpp: Path, tmp_path: Path, kind: str) -> None:
    file = _coloured(kind, tmp_path)
    decoded = subprocess.run(
        [str(cpp / "tests" / "decode_picture"), str(file)], capture_output=True, check=True
    )
    assert decoded.stderr == b""
    mine = read_image(file, pytest.fail).astype(int)
    found = np.frombuffer(decoded.stdout, np.uint8).reshape(mine.shape).astype(int)
    assert np.abs(found - mine).max() <= 1  # another release of LittleCMS and libjpeg


@pytest.mark.parametrize(
    ("chunk", "sentence"),
    [
        (pngs.chunk(b"cICP", bytes([9, 99, 0, 1])), "its colours are taken as sRGB; the profile"),
        (pngs.chunk(b"acTL", bytes([0, 0, 0, 3, 0, 0, 0, 0])), "holds 4 pictures; one is taken."),
    ],
)
def test_what_a_png_loses_is_said(cpp: Path, tmp_path: Path, chunk: bytes, sentence: str) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (8, 8, 3))
    (tmp_path / "in.png").write_bytes(pngs.png(pixels, chunk))
    done = run(cpp, "--task=brighten", tmp_path / "in.png", tmp_path / "out.png")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(f"{tmp_path / 'in.png'}") == 1
    assert sentence in done.stderr


@pytest.mark.parametrize("transfer", [16, 18])
def test_an_hdr_picture_is_refused(cpp: Path, tmp_path: Path, transfer: int) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (8, 8, 3))
    content = pngs.png(pixels, pngs.chunk(b"cICP", bytes([9, transfer, 0, 1])))
    (tmp_path / "in.png").write_bytes(content)
    done = run(cpp, "--task=brighten", tmp_path / "in.png", tmp_path / "out.png")
    assert done.returncode == 2
    assert "it is HDR, which lavin-run tone-maps and lavin_cli does not" in done.stderr


@pytest.mark.soak  # it compiles; CI builds with LittleCMS
def test_without_littlecms_a_profile_is_refused(cpp: Path, tmp_path: Path) -> None:
    sources = ["colours", "exif", "file_parts", "orientation", "picture_files"]
    sources += ["png_file", "png_text"]
    command = ["c++", "-std=c++17", "-O0", "-DLAVIN_HAS_PNG"]
    command += [f"-I{ROOT / 'cpp' / part}" for part in ("cli", "include", "src")]
    command += [f"-I{cpp / 'generated'}", str(ROOT / "cpp" / "tests" / "decode_picture.cpp")]
    command += [str(ROOT / "cpp" / "cli" / f"{name}.cpp") for name in sources]
    program = tmp_path / "decode_picture"
    subprocess.run(
        [*command, f"-L{cpp}", "-llavin", "-lpng", "-lz", "-o", str(program)], check=True
    )
    environment = {"LD_LIBRARY_PATH": str(cpp)}
    for options, refused in (({"icc_profile": icc.rgb_profile("sRGB")}, True), ({}, False)):
        Image.new("RGB", (4, 4)).save(tmp_path / "a.png", **options)
        done = subprocess.run(
            [str(program), str(tmp_path / "a.png")], capture_output=True, env=environment
        )
        assert done.returncode == (2 if refused else 0)
        assert (b"this build has none; save it as sRGB." in done.stderr) == refused


@pytest.mark.parametrize("kind", test_cut_jpeg.KINDS)
def test_a_jpeg_that_ends_too_early_is_judged_as_in_python(
    cpp: Path, tmp_path: Path, kind: str
) -> None:
    whole = test_cut_jpeg.jpeg(kind)
    scan = whole.index(b"\xff\xda")
    cuts = {*np.linspace(scan + 20, len(whole) - 4, 12).astype(int), len(whole) - 1, len(whole) - 2}
    at = scan
    while (at := whole.find(b"\xff", at + 2)) >= 0:  # between scans and at restarts too
        if whole[at + 1] in (0xDA, 0xC4, 0xD0, 0xD5):
            cuts |= {at, at + 2}
    for cut in sorted(cuts):
        (tmp_path / "in.jpg").write_bytes(whole[:cut])
        done = subprocess.run(
            [str(cpp / "tests" / "decode_picture"), str(tmp_path / "in.jpg")], capture_output=True
        )
        if cut < len(whole) - 2:
            assert done.returncode == 2, cut
            assert b"cannot be read as a picture" in done.stderr
        else:
            assert done.returncode == 0, done.stderr
            assert done.stderr.count(b"lacks its end marker; all its pixels are there.") == 1


def _zeros(folder: Path) -> Path:
    np.zeros(256, np.float32).tofile(folder / "zeros.f32")
    return folder / "zeros.f32"


def test_lists_tasks_and_helps(cpp: Path) -> None:
    assert run(cpp, "--tasks").stdout == "brighten\n"
    assert run(cpp, "--help").stdout.startswith("usage: lavin_cli --task NAME")
    assert run(cpp, "--version").stdout == "lavin_cli 0.1.0\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--task=brighten", "IN"], "give an input and an output; see lavin_cli --help."),
        (["--task=brigten", "IN", "o.png"], "Did you mean 'brighten'?"),
        (["--task=brighten", "none.png", "o.png"], "none.png does not exist or cannot be read."),
        (["--task=brighten", "IN", "o.xyz"], "no suffix of a picture that can be written"),
        (["--task=brighten", "--steps=0", "IN", "o.png"], "--steps is '0'; give a whole number"),
        (["--task=brighten", "--steps=2x", "IN", "o.png"], "--steps is '2x'"),
        (["--task=brighten", "--seed=-1", "IN", "o.png"], "--seed is '-1'"),
        (["--task=brighten", "--size=32", "IN", "o.png"], "give HxW, e.g. 128x128."),
        (["--task=brighten", "--nope", "IN", "o.png"], "the option --nope is unknown"),
        (["--task=brighten", "--backend=gpu", "IN", "o.png"], "unknown backend 'gpu'."),
        (["--task=brighten", "--library=no.so", "IN", "o.png"], "no.so: cannot open shared"),
        (["--task=brighten", "--noise=IN", "IN", "o.png"], "float32 values"),
        (["IN", "o.png"], "give either the name of a stored task or example pairs."),
    ],
)
def test_refuses_in_a_sentence(
    cpp: Path, picture: Path, tmp_path: Path, words: list[str], sentence: str
) -> None:
    words = [str(picture) if word == "IN" else word for word in words]
    words = [str(tmp_path / word) if word.startswith("o.") else word for word in words]
    words = [word.replace("=IN", f"={picture}") for word in words]
    done = run(cpp, *words)
    assert done.returncode == 2, done.stderr
    assert sentence in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("lavin_cli: ")]
    assert line
    assert done.stdout == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.png"]  # nothing is left


def test_a_picture_that_is_none(cpp: Path, tmp_path: Path) -> None:
    for content, sentence in (
        (b"\x89PNG\r\n\x1a\nnot a picture", "cannot be read as a picture"),
        (b"\xff\xd8\xff\xe0", "cannot be read as a picture"),
        (b"P6 9999999 1 255\n", "65535 pixels a side"),
        (b"P6 2 2 255\n123", "it ends before its last pixel"),
        (b"text", "is not a picture (PNG, JPEG, PPM are read)."),
        (b"", "is not a picture"),
    ):
        (tmp_path / "in.png").write_bytes(content)
        done = run(cpp, "--task=brighten", tmp_path / "in.png", tmp_path / "out.png")
        assert done.returncode == 2
        assert sentence in done.stderr


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".ppm"])
def test_writes_pictures(cpp: Path, picture: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"out{suffix}"
    assert run(cpp, "--task=brighten", picture, out).returncode == 0
    with lavin.load(TOY) as model:
        mine = model.run("brighten", read_image(picture)).image.astype(int)
    assert np.abs(read_image(out).astype(int) - mine).max() <= (24 if suffix == ".jpg" else 0)


def test_a_place_that_cannot_be_written(cpp: Path, picture: Path, tmp_path: Path) -> None:
    done = run(cpp, "--task=brighten", picture, tmp_path / "none" / "out.png")
    assert done.returncode != 0
    assert "could not be written" in done.stderr

"""``filter`` and ``geometry``: what is done to a picture is drawn, and the pair shows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from lavin_deploy.arrays import F32, U8
from lavin_deploy.evaluation.metrics import psnr
from lavin_deploy.training.families.held_out_filters import HELD_OUT_FILTERS, turned
from lavin_deploy.training.synthesis.appearance import LUMA
from lavin_deploy.training.synthesis.collage import Collage
from lavin_deploy.training.tasks.base import Family, Group, picture
from lavin_deploy.training.tasks.filters import FILTERS

Program = Callable[[U8], U8]
NEAR = 20.0
"""PSNR in dB from which on a drawn program is too much like a held-out filter."""
PROBES, PROBE_SIDE = 10, 64


def _u8(image: NDArray[np.floating]) -> U8:
    return np.asarray(np.clip(image + 0.5, 0, 255), np.uint8)


def _curve(rng: np.random.Generator) -> F32:
    """A smooth table of 256 values through three to six random points."""
    points = int(rng.integers(3, 7))
    values = rng.uniform(0, 255, points)
    if rng.random() < 0.5:
        values = np.sort(values)
    table = np.interp(np.linspace(0, points - 1, 256), np.arange(points), values)
    return np.asarray(cv2.GaussianBlur(table.astype(np.float32)[None], (0, 0), 8)[0], np.float32)


def curves(rng: np.random.Generator) -> Program:
    """A tone curve for all channels, or one for each."""
    one = _curve(rng)
    tables = np.stack([one if rng.random() < 0.5 else _curve(rng) for _ in range(3)], axis=-1)
    return lambda image: np.asarray(cv2.LUT(image, _u8(tables)[None]), np.uint8)


def mix(rng: np.random.Generator) -> Program:
    """Channels mixed by a random matrix."""
    matrix = rng.normal(0, 0.45, (3, 3)) + np.eye(3) * rng.uniform(0, 0.8)
    matrix *= rng.uniform(0.7, 1.2) / np.maximum(np.abs(matrix.sum(axis=1, keepdims=True)), 0.4)
    shift = rng.uniform(-40, 40, 3)
    return lambda image: _u8(image.astype(np.float32) @ matrix.T.astype(np.float32) + shift)


def tint(rng: np.random.Generator) -> Program:
    """The picture's grey as a ramp of two or three colours."""
    stops = rng.uniform(0, 255, (int(rng.integers(2, 4)), 3))
    if rng.random() < 0.6:
        stops = stops[np.argsort(stops @ LUMA)]
    ramp = np.stack(
        [np.interp(np.linspace(0, len(stops) - 1, 256), np.arange(len(stops)), c) for c in stops.T],
        axis=-1,
    )
    return lambda image: _u8(ramp.astype(np.float32)[_u8(image @ LUMA)])


def wash(rng: np.random.Generator) -> Program:
    """A colour laid over the picture."""
    colour = rng.uniform(0, 255, 3).astype(np.float32)
    amount = float(rng.uniform(0.25, 0.65))
    return lambda image: _u8(image * np.float32(1 - amount) + colour * np.float32(amount))


def blur(rng: np.random.Generator) -> Program:
    """Gaussian, or a box in one direction."""
    sigma = float(np.exp(rng.uniform(np.log(0.012), np.log(0.05))))
    if rng.random() < 0.6:
        return lambda image: cv2.GaussianBlur(image, (0, 0), sigma * image.shape[0])
    down = rng.random() < 0.5

    def box(image: U8) -> U8:
        length = max(3, round(3 * sigma * image.shape[0]))
        return np.asarray(cv2.blur(image, (1, length) if down else (length, 1)), np.uint8)

    return box


def sharpen(rng: np.random.Generator) -> Program:
    """Unsharp mask, strong enough to be seen; or the difference alone on grey."""
    sigma, amount = float(rng.uniform(0.008, 0.04)), float(rng.uniform(1.0, 4.0))
    alone = rng.random() < 0.3

    def program(image: U8) -> U8:
        exact = image.astype(np.float32)
        fine = exact - cv2.GaussianBlur(exact, (0, 0), sigma * image.shape[0])
        return _u8(128 + fine * amount if alone else exact + fine * amount)

    return program


def gradient(rng: np.random.Generator) -> Program:
    """How steep the brightness is, light on dark or dark on light, in a colour."""
    gain, dark = float(rng.uniform(0.8, 2.5)), rng.random() < 0.5
    colour = rng.uniform(0.3, 1, 3).astype(np.float32) if rng.random() < 0.5 else np.ones(3)

    def program(image: U8) -> U8:
        grey = cv2.GaussianBlur(image.astype(np.float32) @ LUMA, (0, 0), 0.006 * image.shape[0])
        steep = np.hypot(cv2.Sobel(grey, -1, 1, 0), cv2.Sobel(grey, -1, 0, 1))
        steep = np.minimum(steep * gain, 255)[..., None]
        return _u8((255 - steep if dark else steep) * colour.astype(np.float32))

    return program


def posterise(rng: np.random.Generator) -> Program:
    """Three to six levels a channel."""
    levels = int(rng.integers(3, 7))
    table = np.round(np.arange(256) / 255 * (levels - 1)) * 255 / (levels - 1)
    return lambda image: _u8(table.astype(np.float32)[image])


def kernel(rng: np.random.Generator) -> Program:
    """A random 3x3 kernel, spread over more pixels in larger pictures."""
    weights = rng.normal(0, 0.5, (3, 3))
    weights += (rng.uniform(0, 1) - weights.sum()) / 9
    shift = 128 * (1 - float(weights.sum()))

    def program(image: U8) -> U8:
        step = max(1, image.shape[0] // 64)
        wide = np.zeros((2 * step + 1, 2 * step + 1), np.float32)
        wide[::step, ::step] = weights
        return _u8(cv2.filter2D(image.astype(np.float32), -1, wide) + shift)

    return program


def saturation(rng: np.random.Generator) -> Program:
    """More or less colour, or a turned hue."""
    amount, angle = float(rng.uniform(0, 2.2)), float(rng.uniform(0.4, 2 * np.pi - 0.4))
    turning = rng.random() < 0.6
    cos, sin = np.cos(angle), np.sin(angle)

    def program(image: U8) -> U8:
        lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
        a, b = lab[..., 1].copy(), lab[..., 2].copy()
        lab[..., 1], lab[..., 2] = (
            (a * cos - b * sin, a * sin + b * cos) if turning else (a * amount, b * amount)
        )
        return _u8(cv2.cvtColor(lab, cv2.COLOR_Lab2RGB) * 255)

    return program


def contrast(rng: np.random.Generator) -> Program:
    """Gamma, gain and offset."""
    gamma = float(np.exp(rng.uniform(-1, 1)))
    gain, shift = float(rng.uniform(0.3, 1.6)), float(rng.uniform(-70, 70))
    table = 255 * (np.arange(256) / 255) ** gamma * gain + shift
    return lambda image: _u8(table.astype(np.float32)[image])


PRIMITIVES = (
    *(curves, curves, mix, mix, tint, tint, wash, saturation, contrast),
    *(blur, sharpen, gradient, posterise, kernel),
)
"""Those of colour twice where their parameters span more."""


def compose(parts: Sequence[Program]) -> Program:
    """One after another."""

    def program(image: U8) -> U8:
        for part in parts:
            image = part(image)
        return image

    return program


class NearHeldOut:
    """Says whether a program does on ten photographs what a held-out filter does."""

    def __init__(self, data: Collage) -> None:
        rng = np.random.default_rng(0)
        self.photos = [data.photo(rng, PROBE_SIDE, jitter=False) for _ in range(PROBES)]
        filters = {**FILTERS, **HELD_OUT_FILTERS}
        self.results = [self.result(each) for each in filters.values()]

    def result(self, program: Program) -> U8:
        """What a program makes of the photographs, (10, 64, 64, 3) uint8."""
        return np.stack([program(photo) for photo in self.photos])

    def __call__(self, program: Program) -> bool:
        """Whether the result lies within :data:`NEAR` of a held-out filter's."""
        result = self.result(program)
        return any(psnr(result, other) >= NEAR for other in self.results)


class Programs(Family):
    """What is done to a picture is drawn, and drawn again where a held-out filter does it."""

    marks = False

    def __init__(self, data: Collage, *, held_out: bool = False, plain: bool = False) -> None:
        super().__init__(data, held_out=held_out, plain=plain)
        self.near = NearHeldOut(data)

    def parts(self, rng: np.random.Generator, count: int) -> list[Program]:
        """Draw the parts of a program."""
        raise NotImplementedError

    def program(self, rng: np.random.Generator) -> Program:
        """Draw a program that is none of the held-out filters."""
        while True:
            count = 1 if rng.random() < 0.6 else 2
            program = compose(self.parts(rng, count))
            if not self.near(program):
                return program


class Filters(Programs):
    """One or two primitives with drawn parameters, done to photographs."""

    name = "filter"
    answers = 6

    def parts(self, rng: np.random.Generator, count: int) -> list[Program]:
        """Draw primitives, then their parameters."""
        chosen = rng.integers(len(PRIMITIVES), size=count)
        return [PRIMITIVES[int(number)](rng) for number in chosen]

    def group(self, rng: np.random.Generator, size: int, count: int) -> Group:
        """Draw ``count`` photographs and six programs; held out: six of the ten filters."""
        pictures = [picture(rng, self.data, size) for _ in range(count)]
        if self.held_out:
            order = rng.permutation(len(HELD_OUT_FILTERS))[: self.answers]
            names = [list(HELD_OUT_FILTERS)[k] for k in order]
            drawn = applied(pictures, [HELD_OUT_FILTERS[name] for name in names])
            return replace(drawn, names=names)
        return applied(pictures, [self.program(rng) for _ in range(self.answers)])


class Geometry(Programs):
    """Mirror, quarter turn, shift, zoom, crop, or two of them. Held out: the turn by 180."""

    name = "geometry"
    answers = 4

    def parts(self, rng: np.random.Generator, count: int) -> list[Program]:
        """Draw maps of places."""
        return [_warp(rng) for _ in range(count)]

    def group(self, rng: np.random.Generator, size: int, count: int) -> Group:
        """Draw ``count`` pictures and four maps that differ."""
        pictures = [picture(rng, self.data, size) for _ in range(count)]
        if self.held_out:
            return applied(pictures, [turned])
        drawn: list[Program] = []
        results: list[U8] = []
        while len(drawn) < self.answers:
            program = self.program(rng)
            result = self.near.result(program)
            if not any(psnr(result, other) >= NEAR for other in results):
                drawn.append(program)
                results.append(result)
        return applied(pictures, drawn)


def _warp(rng: np.random.Generator) -> Program:
    kind = int(rng.integers(5))
    if kind == 0:
        axis = int(rng.integers(2))
        return lambda image: np.ascontiguousarray(np.flip(image, axis))
    if kind == 1:
        quarters = int(rng.choice((1, 3)))
        return lambda image: np.ascontiguousarray(np.rot90(image, quarters))
    border = cv2.BORDER_CONSTANT if rng.random() < 0.5 else cv2.BORDER_REFLECT
    shift = np.round(rng.uniform(-0.35, 0.35, 2) * 8) / 8
    zoom = 1.0 if kind == 2 else float(rng.choice((0.5, 0.75, 1.5, 2.0)))
    if kind == 3:
        shift = np.zeros(2)

    def program(image: U8) -> U8:
        size = image.shape[0]
        move = (1 - zoom) * (size - 1) / 2 + shift * size
        matrix = np.array([[zoom, 0, move[0]], [0, zoom, move[1]]])
        return np.asarray(cv2.warpAffine(image, matrix, (size, size), borderMode=border), np.uint8)

    return program


def applied(pictures: list[U8], programs: Sequence[Program]) -> Group:
    """A group of pictures and what each program makes of them."""
    return Group(
        inputs=pictures,
        targets=[[program(image) for program in programs] for image in pictures],
        present=np.ones((len(pictures), len(programs)), bool),
        sources=np.arange(len(pictures)),
    )

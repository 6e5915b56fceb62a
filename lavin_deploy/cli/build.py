"""``lavin-build``: engines of TensorRT or TensorRT-RTX from a bundle."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click

from lavin_deploy.cli.common import ProgressBar, command
from lavin_deploy.errors import InputError
from lavin_deploy.names import TARGETS


@command()
@click.argument("bundle", metavar="BUNDLE")
@click.option("--target", type=click.Choice(TARGETS), required=True, help="The library.")
@click.option(
    "--compute-capability",
    "capabilities",
    metavar="LIST",
    help="8.9,12.0 ahead of time, or current; default: all (tensorrt-rtx), current (tensorrt).",
)
@click.option("--precision", help="Of the variant; default: the bundle's.")
@click.option("--dialect", help="native or portable; default: what the library's parser knows.")
@click.option("--decomposed", is_flag=True, help="Portable graphs without our plugins.")
@click.option("--memory", type=click.IntRange(1), metavar="MiB", help="Limit of scratch memory.")
@click.option("--timing-cache", type=Path, help="File to read and extend.")
@click.option("--version-compatible", is_flag=True, help="For later versions of the library too.")
@click.option("--hardware-compatible", is_flag=True, help="For all GPUs from Ampere on.")
@click.option("--stripped", is_flag=True, help="Without weights.")
@click.option("--refittable", is_flag=True, help="With weights that can be replaced.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def build(
    bundle: str,
    target: str,
    capabilities: str | None,
    precision: str | None,
    dialect: str | None,
    decomposed: bool,
    memory: int | None,
    timing_cache: Path | None,
    version_compatible: bool,
    hardware_compatible: bool,
    stripped: bool,
    refittable: bool,
    as_json: bool,
) -> None:
    """Build an engine for every graph of BUNDLE and keep them in its folder engines/."""
    from lavin_deploy.bundle.reader import open_bundle
    from lavin_deploy.engines.build import BuildRequest, Watcher, build_bundle
    from lavin_deploy.engines.identity import BuildOptions

    request = BuildRequest(
        target=target,
        capabilities=_capabilities(capabilities),
        precision=precision,
        dialect=dialect,
        decomposed=decomposed,
        options=BuildOptions(
            memory=None if memory is None else memory << 20,
            version_compatible=version_compatible,
            hardware_compatible=hardware_compatible,
            stripped=stripped,
            refittable=refittable,
        ),
        timing_cache=timing_cache,
    )
    with open_bundle(bundle) as opened, ProgressBar("step") as bar:

        class Bar(Watcher):
            def expect(self, steps: int) -> None:
                bar.expect(steps)

            def advance(self) -> None:
                bar.advance()

        built = build_bundle(opened, request, Bar())
    if as_json:
        rows = [
            {
                "graph": each.graph,
                "engine": str(each.folder),
                "bytes": each.bytes,
                "seconds": each.seconds,
                "reused": each.reused,
            }
            for each in built
        ]
        click.echo(json.dumps({"bundle": bundle, "target": target, "engines": rows}))
        return
    for each in built:
        how = "was there" if each.reused else f"{each.seconds:.1f} s"
        click.echo(f"{each.graph}: {each.bytes / 1e6:.1f} MB, {how}")


def _capabilities(text: str | None) -> tuple[str, ...]:
    parts = tuple(part.strip() for part in text.split(",")) if text else ()
    wrong = [part for part in parts if part != "current" and not re.fullmatch(r"\d+\.\d", part)]
    if wrong:
        raise InputError(
            f"{wrong[0]!r} is no compute capability; write numbers as 8.9 with commas between, or "
            "current."
        )
    return parts

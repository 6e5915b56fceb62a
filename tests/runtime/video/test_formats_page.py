"""docs/formats.md: its tables of film and sound are the code's own (LAVIN_WRITE_PAGES=1)."""

from __future__ import annotations

from pathlib import Path

import pytest

from lavin_deploy.runtime.media.inputs import VIDEO_SUFFIXES
from lavin_deploy.runtime.video.formats import VIDEO_OUTPUTS, format_of
from lavin_deploy.runtime.video.holds import HOLDS
from tests.conftest import ROOT
from tests.helpers.pages import check_block

pytestmark = pytest.mark.unit


def tables() -> str:
    """Markdown of what film is read, and of what each container that is written can hold."""
    suffixes: dict[str, list[str]] = {}
    for suffix in VIDEO_OUTPUTS:
        suffixes.setdefault(format_of(Path(f"a{suffix}")).muxer, []).append(f"`{suffix}`")
    lines = [
        "Read by suffix: " + " ".join(f"`{suffix}`" for suffix in VIDEO_SUFFIXES) + ".",
        "",
        "| written | picture | sound that is copied | other sound | as defined by |",
        "|---|---|---|---|---|",
    ]
    for muxer, names in suffixes.items():
        holds = HOLDS[muxer]
        video = ", else ".join(format_of(Path("a" + names[0].strip("`"))).video)
        lines.append(
            f"| {' '.join(names)} | {video} | {', '.join(holds.sound)} | {holds.encoder} | "
            f"{holds.sound_source} |"
        )
    lines += [
        "",
        "| written | subtitles that are kept | other text | chapters | creation time | "
        "of sound: language, title, default |",
        "|---|---|---|---|---|---|",
    ]
    for muxer, names in suffixes.items():
        holds = HOLDS[muxer]
        has = ["yes" if h else "no" for h in (holds.chapters, holds.creation_time)]
        kept = ", ".join(holds.subtitles) or "none"
        tags = "yes" if holds.sound_tags else "no"
        cells = [" ".join(names), kept, holds.text or "none", *has, tags]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def test_the_tables_of_the_page_are_the_codes_own() -> None:
    check_block(ROOT / "docs" / "formats.md", "film", tables())

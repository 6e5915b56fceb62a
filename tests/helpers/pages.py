"""Blocks of documents that are made from the code's own tables."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def check_block(page: Path, name: str, content: str) -> None:
    """Hold the block between ``<!-- name -->`` and ``<!-- /name -->`` against its content.

    ``LAVIN_WRITE_PAGES=1`` writes it instead.
    """
    text = page.read_text(encoding="utf-8")
    block = re.compile(rf"(<!-- {name} -->\n).*?(\n<!-- /{name} -->)", re.DOTALL)
    found = block.search(text)
    assert found, f"{page} has no block {name}"
    wanted = block.sub(lambda m: m[1] + content + m[2], text)
    if os.environ.get("LAVIN_WRITE_PAGES"):
        page.write_text(wanted, encoding="utf-8")
    assert page.read_text(encoding="utf-8") == wanted, (
        f"{page.name}: the block {name} is not what the code says; LAVIN_WRITE_PAGES=1 writes it"
    )

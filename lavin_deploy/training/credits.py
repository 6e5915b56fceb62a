"""What a model was trained on, with licences, written beside its weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lavin_deploy.files import replaced_file
from lavin_deploy.training.data.inventory import Item
from lavin_deploy.training.tasks.own import OwnPairs

CREDITS = "DATA.md"

HEAD = """# Data that these weights were trained on

Pictures of the training split, by package; none of them lies beside this file. Composed and
rendered samples are made of them by `lavin_deploy.training`. Frames of a film count as one file.
"""


def write_credits(folder: Path, items: list[Item], own: Mapping[str, OwnPairs]) -> None:
    """Write ``DATA.md`` into a checkpoint folder.

    Args:
        folder: of the run.
        items: pictures of the training split.
        own: the user's own tasks by name, of which only number and hash are known.
    """
    groups: dict[tuple[str, str, str, str], list[str]] = {}
    for item in items:
        key = (item.package, item.version, item.license, item.attribution)
        groups.setdefault(key, []).append(item.file.partition("@")[0])
    lines = [HEAD, "| package | licence | author | pictures | files |", "|---|---|---|---|---|"]
    for (package, version, licence, author), files in sorted(groups.items()):
        names = ", ".join(sorted(set(files)))
        row = (f"{package} {version}", licence, author or "see the package", len(files), names)
        lines.append("| " + " | ".join(str(cell).replace("|", "/") for cell in row) + " |")
    for name, task in own.items():
        about = f"SHA-256 {task.sha256[:16]}"
        lines.append(f"| own pairs | as you say | you | {len(task.pairs)} | {name}, {about} |")
    folder.mkdir(parents=True, exist_ok=True)
    with replaced_file(folder / CREDITS) as part:
        part.write_text("\n".join([*lines, ""]), encoding="utf-8")

#!/usr/bin/env python3
"""Say whether two bundles are equal byte for byte in graphs, weights and tables.

    scripts/compare_bundles.py BEFORE.lavin AFTER.lavin

Exit code 0 where they are. Reports, times and names of the run are not compared.
"""

from __future__ import annotations

import sys
from pathlib import Path

COMPARED = ("graphs", "tables", "tasks", "selftest", "validation")


def content(bundle: Path) -> dict[str, bytes]:
    """Every compared file by its path in the bundle."""
    files = (path for folder in COMPARED for path in sorted((bundle / folder).rglob("*")))
    return {path.relative_to(bundle).as_posix(): path.read_bytes() for path in files
            if path.is_file()}  # fmt: skip


def main() -> int:
    """Compare the two bundles on the command line; the exit code."""
    before, after = (content(Path(word)) for word in sys.argv[1:3])
    for path in sorted(before.keys() ^ after.keys()):
        print(f"only in one of them: {path}")
    common = sorted(before.keys() & after.keys())
    different = [path for path in common if before[path] != after[path]]
    for path in different:
        print(f"differs: {path}")
    equal = len(common) - len(different)
    size = sum(len(before[path]) for path in common)
    print(f"{equal} of {len(before.keys() | after.keys())} files equal, {size} bytes compared")
    return 0 if before == after and before else 1


if __name__ == "__main__":
    sys.exit(main())

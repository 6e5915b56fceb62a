"""Processes that do something to one place at the same time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]

_BEGIN = """
import sys
print("ready", flush=True)
sys.stdin.readline()
"""


def started(code: str, *words: object) -> subprocess.Popen[str]:
    """Start Python on ``code``; ``sys.argv[1:]`` are the words."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def at_once(imports: str, code: str, words: Sequence[Sequence[object]]) -> list[str]:
    """Run ``code`` in one process for each list of words, all together after their imports.

    Returns:
        What each printed, in order, with what it said on stderr; none may fail.
    """
    processes = [started(imports + _BEGIN + code, *each) for each in words]
    for process in processes:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line == "ready\n", line + process.communicate()[1]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate(timeout=120) for process in processes]
    for process, (_, error) in zip(processes, said, strict=True):
        assert process.returncode == 0, error
    return [out + error for out, error in said]

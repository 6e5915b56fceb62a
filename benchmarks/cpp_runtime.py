"""The C++ runtime beside the Python runtime: time to the first answer, time a frame, memory.

    python benchmarks/cpp_runtime.py [--bundle edge.lavin] [--rounds 9] [--json FILE]

Every process opens the bundle and answers one picture (``first answer``: from the start of the
process to its end, with the answer written) or 40 frames of 640 x 480 (``loop``: milliseconds a
frame after the first, by the program's own clock). Processes of both runtimes take turns; medians
are compared. ``memory`` is the most that a process held (ru_maxrss). Times within one process are
interleaved, ``Model.run`` against ``lavin_run_request`` by ctypes.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image
from timing import processor, timings, versions

import lavin_deploy as lavin
from lavin_deploy.runtime.pipeline import DEFAULT_BUNDLE

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "cpp"
FRAMES, WIDTH, HEIGHT = 40, 640, 480

FIRST = """
import sys
from pathlib import Path
import lavin_deploy
from lavin_deploy.runtime.media.images import read_image, write_image
with lavin_deploy.load(sys.argv[1], backend="onnxruntime") as model:
    image = model.run(sys.argv[2], read_image(Path(sys.argv[3]))).image
    write_image(Path(sys.argv[4]), image)
"""
LOOP = """
import sys, time
import numpy as np
import lavin_deploy

def frames():
    with open(sys.argv[3], "rb") as file:
        while data := file.read(3 * 640 * 480):
            yield np.frombuffer(data, np.uint8).reshape(480, 640, 3)

with lavin_deploy.load(sys.argv[1], backend="onnxruntime") as model:
    with open(sys.argv[4], "wb") as out:
        for count, result in enumerate(model.stream(sys.argv[2], frames())):
            if count == 0:
                start = time.perf_counter()
            out.write(result.image.tobytes())
print(1e3 * (time.perf_counter() - start) / count)
"""


# Starts a command and says what it took; small itself, because what a process held before it became
# the command counts as the command's.
_MEASURE = """
import os, sys, time
start = time.perf_counter()
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(child, 0)
print(time.perf_counter() - start, usage.ru_maxrss * 1024 / 1e6, status, flush=True)
"""


def measured(command: Sequence[object]) -> tuple[float, float, str]:
    """Seconds, megabytes (10^6 bytes) and what a command printed on both streams."""
    words = [sys.executable, "-S", "-E", "-c", _MEASURE, *map(str, command)]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    *printed, last = done.stdout.splitlines()
    seconds, memory, status = last.split()
    if int(status):
        raise SystemExit(f"{command[0]} failed: {done.stdout}")
    return float(seconds), float(memory), "\n".join(printed)


def rate(text: str) -> float:
    """Milliseconds a frame: what the Python program prints, or of camera_loop's last line."""
    match = re.search(r"in all: \d+ answers, ([\d.]+) frames per second", text)
    return 1e3 / float(match.group(1)) if match else float(text.split()[-1])


@click.command()
@click.option("--bundle", type=click.Path(path_type=Path), default=DEFAULT_BUNDLE)
@click.option("--task", default="segmentation")
@click.option("--rounds", default=9, help="processes of each kind")
@click.option("--json", "target", type=click.Path(path_type=Path))
def main(bundle: Path, task: str, rounds: int, target: Path | None) -> None:
    """Compare the C++ runtime in build/cpp (make cpp) with this Python."""
    from tests.helpers.clib import Library, onnxruntime_library

    os.environ["LAVIN_ONNXRUNTIME"] = str(onnxruntime_library())
    picture = sorted((ROOT / "examples" / "tasks" / "segmentation").glob("*_input.*"))[0]
    with tempfile.TemporaryDirectory() as place:
        out, raw = Path(place) / "out.png", Path(place) / "frames.rgb"
        rng = np.random.default_rng(0)
        with Image.open(picture) as image:
            still = np.array(image.convert("RGB").resize((WIDTH, HEIGHT)))
        noisy = [np.clip(still + rng.integers(-9, 9, still.shape), 0, 255) for _ in range(FRAMES)]
        raw.write_bytes(b"".join(frame.astype(np.uint8).tobytes() for frame in noisy))
        cli = [BUILD / "lavin_cli", "--bundle", bundle, "--task", task, "--backend", "onnxruntime"]
        camera = [BUILD / "examples" / "camera_loop", bundle, task, "--frames", raw]
        commands = {
            ("first answer", "python"): [sys.executable, "-c", FIRST, bundle, task, picture, out],
            ("first answer", "cpp"): [*cli, picture, out],
            ("loop", "python"): [sys.executable, "-c", LOOP, bundle, task, raw, out],
            ("loop", "cpp"): [*camera, f"{WIDTH}x{HEIGHT}", "--every", "-o", out],
        }
        runs: dict[tuple[str, str], list[tuple[float, float, str]]] = {k: [] for k in commands}
        for _ in range(rounds + 1):
            for key, command in commands.items():
                runs[key].append(measured(command))
    rows: list[dict[str, Any]] = []
    for what in ("first answer", "loop"):
        for unit in ("ms", "memory MB"):
            row: dict[str, Any] = {"what": what, "unit": unit}
            for side in ("python", "cpp"):
                counted = runs[what, side][1:]
                if unit == "memory MB":
                    values = [memory for _, memory, _ in counted]
                elif what == "loop":
                    values = [rate(text) for _, _, text in counted]
                else:
                    values = [1e3 * seconds for seconds, _, _ in counted]
                row[side] = statistics.median(values)
            rows.append(row)
    with (
        lavin.load(bundle, backend="onnxruntime") as python,
        Library(BUILD / "liblavin.so").load(bundle, backend="onnxruntime") as cpp,
    ):
        for what, options in (
            ("answer", {}),
            ("9 evaluations", {"steps": 9}),
            ("guidance 1.5", {"guidance": 1.5}),
        ):
            times = timings(
                {
                    "python": lambda options=options: python.run(task, still, **options),
                    "cpp": lambda options=options: cpp.run(task, still, **options),
                },
                5 * rounds,
            )
            row = {"what": f"in one process: {what}", "unit": "ms"}
            rows.append(row | {side: times[side].median for side in ("python", "cpp")})
    print(f"{processor()}, {os.cpu_count()} processors, {versions()}")
    print(f"{'':36}{'python':>10}{'C++':>10}{'ratio':>8}{'difference':>12}")
    for row in rows:
        ratio, less = row["python"] / row["cpp"], row["python"] - row["cpp"]
        print(
            f"{row['what'] + ', ' + row['unit']:36}{row['python']:10.1f}{row['cpp']:10.1f}"
            f"{ratio:8.2f}{less:12.1f}"
        )
    if target is not None:
        report = {"processor": processor(), "versions": versions(), "rounds": rounds, "rows": rows}
        target.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""``python -m tests.helpers.golden_toy`` writes ``tests/golden/toy.lavin``, which C++ tests open.

It is the bundle of ``toy_bundle`` in two sizes with a stored task, "brighten", whose two pairs add
32 and 48 to grey.
"""

import shutil
import tempfile
from pathlib import Path

from lavin_deploy.runtime.create_task import create_task
from lavin_deploy.runtime.media.images import write_image
from lavin_deploy.tasks.stored import StoredTask
from tests.helpers.toy_bundle import flat, write_toy

FOLDER = Path(__file__).parents[1] / "golden" / "toy.lavin"


def write_golden_toy(folder: Path, pairs: Path) -> None:
    """Write the bundle; ``pairs`` is a new folder for its pictures."""
    write_toy(folder, sizes=((32, 32), (16, 32)))
    pairs.mkdir()
    for name, grey, more in (("one", 96, 32), ("two", 64, 48)):
        write_image(pairs / f"{name}_input.png", flat(32, 32, grey, grey, grey))
        write_image(pairs / f"{name}_target.png", flat(32, 32, *[grey + more] * 3))
    task = StoredTask(name="brighten", description="Adds light.", pairs=())
    create_task(folder, task, pairs)


if __name__ == "__main__":
    shutil.rmtree(FOLDER, ignore_errors=True)
    with tempfile.TemporaryDirectory() as place:
        write_golden_toy(FOLDER, Path(place) / "pairs")

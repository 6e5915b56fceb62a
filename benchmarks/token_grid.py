"""How much of the grid of tokens shows in answers of checkpoint folders, beside what they answer.

    python benchmarks/token_grid.py MILESTONE TUNED --data DATA --json OUT.json

`grid` is the mean step in grey levels between neighbouring columns and rows where two tokens meet,
over that in the middle of tokens; 1 is no grid. The truths' own stands beside it. Samples are those
of `lavin-eval --suite pairs`.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np
from tqdm import tqdm

from lavin_deploy.arrays import U8
from lavin_deploy.evaluation.bootstrap import interval
from lavin_deploy.training.families.heldout import HeldOutFamilies
from lavin_deploy.training.torch_answers import TorchAnswers

TOKEN = 16


def steps(image: U8) -> tuple[float, float]:
    """Mean absolute step at the borders of tokens and in their middle, in grey levels."""
    grey = image.astype(np.float64).mean(axis=2)
    found = []
    for first in (0, TOKEN // 2):
        places = np.arange(first or TOKEN, grey.shape[0], TOKEN)
        across = [np.abs(each[places] - each[places - 1]).mean() for each in (grey, grey.T)]
        found.append(float(np.mean(across)))
    return found[0], found[1]


def grid(images: list[U8]) -> float:
    """Steps at borders over steps in the middle, of all images together."""
    borders, middles = zip(*(steps(image) for image in images), strict=True)
    return float(np.sum(borders) / np.sum(middles))


@click.command()
@click.argument("checkpoints", type=Path, nargs=-1, required=True)
@click.option("--data", type=Path, required=True)
@click.option("--family", "families", multiple=True, default=("filter", "region", "follow"))
@click.option("--samples", default=60, show_default=True)
@click.option("--json", "out", type=Path)
def main(
    checkpoints: tuple[Path, ...],
    data: Path,
    families: tuple[str, ...],
    samples: int,
    out: Path | None,
) -> None:
    """Print score and grid of every family and checkpoint."""
    models = {str(folder): TorchAnswers(folder) for folder in checkpoints}
    size = min(next(iter(models.values())).config.inference.size)
    source = HeldOutFamilies(data, size=size, pairs=1)
    rows = []
    for family in families:
        episodes = [source.episode(family, "held-out", index) for index in range(samples)]
        truth = grid([episode.truth for episode in episodes])
        for name, model in models.items():
            answers = [model(episode.pairs, episode.query) for episode in tqdm(episodes)]
            scores = [e.score(a) for e, a in zip(episodes, answers, strict=True)]
            found = interval(scores)
            assert found is not None
            row = {"family": family, "checkpoint": name, "score": found.mean, "low": found.low}
            row |= {"high": found.high, "grid": grid(answers), "grid of truths": truth}
            rows.append(row)
            print(row, flush=True)
    if out is not None:
        out.write_text(json.dumps({"samples": samples, "size": size, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()

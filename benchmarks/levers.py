"""Ways to learn sooner, each against the plain loss and AdamW: held-out IoU by CPU-minutes.

    python benchmarks/levers.py CHECKPOINT --data DATA --work DIR --json OUT.json

`align`: the middle tokens of queries are drawn towards EfficientNet-Lite0's features of their place
(as REPA does, Yu et al., 2024, arXiv 2410.06940: weight 0.5, cosine, a three-layer MLP).
`foreground`: places where a target differs from most of it weigh five times as much. `muon`: the
blocks' matrices are moved by orthogonalised momentum (Muon, Jordan et al., 2024) at AdamW's rate
and mean size of a step. CHECKPOINT has merged pairs; everything else is as in `pairing.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import click
import numpy as np
import torch
import torch.nn.functional as F
from held_out_episodes import HeldOut, make_task
from numpy.typing import NDArray
from pairing import BATCH, RATE, SIZE, Laid, Variant, run
from torch import Tensor, nn

from lavin_deploy.models.checkpoint import fill, load_vae
from lavin_deploy.models.jdit import JDiT
from lavin_deploy.models.weights import read_state
from lavin_deploy.training.latents.open import open_pools
from lavin_deploy.training.latents.pool import GROUP, Chunk, LatentPools, Pool
from lavin_deploy.training.loop.objective import make_optimizer
from lavin_deploy.training.loop.processes import Processes
from lavin_deploy.training.loop.settings import DiTRecipe
from lavin_deploy.training.losses.perceptual import EffLite0
from lavin_deploy.training.recipes import override, recipe
from lavin_deploy.training.stvae import to_clip
from lavin_deploy.training.synthesis.collage import Collage
from lavin_deploy.training.tasks.base import Task
from lavin_deploy.training.tasks.registry import group as draw_group

MAP, CHANNELS = 2, 112
"""Which of the network's maps has a place for every token (stride 16), and its width."""
BLOCK = 2
"""Behind which tokens are compared."""
HEAVY = 4.0
"""Weight of what differs, beside 1."""


class Recorded(Pool):
    """A pool that remembers which items were drawn."""

    drawn: ClassVar[list[NDArray[np.int64]]] = []

    def choose(
        self, rng: np.random.Generator, pairs: int, queries: int
    ) -> tuple[Chunk, int, NDArray[np.int64]]:
        chunk, answer, items = super().choose(rng, pairs, queries)
        before = next(n for n, each in enumerate(self.chunks) if each is chunk)
        first = sum(len(each.latents) for each in self.chunks[:before])
        Recorded.drawn.append(first + items[pairs:])
        return chunk, answer, items


@torch.no_grad()
def features(task: Task, groups: int, seed: int) -> Tensor:
    """Of the inputs of a pool's items: (N, 112, 4, 4)."""
    network = EffLite0()
    rows = []
    for number in range(groups):
        group = draw_group(task, np.random.default_rng((seed, number)), SIZE, GROUP)
        rows.append(network.features(to_clip(group.inputs)[:, :, 0])[MAP])
    return torch.cat(rows)


def optimizers_of(module: nn.Module, plan: DiTRecipe, *, muon: bool) -> list[torch.optim.Optimizer]:
    """AdamW, or with ``muon`` Muon for the blocks' matrices and AdamW for the rest."""
    if not muon:
        return [make_optimizer(module, plan)]
    matrices = [p for n, p in module.named_parameters() if "blocks." in n and p.ndim == 2]
    chosen = {id(p) for p in matrices}
    others = nn.ParameterList(p for p in module.parameters() if id(p) not in chosen)
    decay = plan.weight_decay
    return [
        torch.optim.Muon(matrices, weight_decay=decay, adjust_lr_fn="match_rms_adamw"),
        make_optimizer(others, plan),
    ]


@click.command()
@click.argument("checkpoint", type=Path)
@click.option("--data", type=Path, required=True)
@click.option("--work", type=Path, required=True)
@click.option("--json", "out", type=Path, required=True)
@click.option("--family", default="follow", show_default=True)
@click.option("--seconds", default=240.0)
@click.option("--groups", default=300)
@click.option("--seeds", default=2)
@click.option("--rate", default=RATE, show_default=True, help="Learning rate.")
@click.option("--way", "ways", multiple=True, default=("plain", "align", "foreground", "muon"))
def main(
    checkpoint: Path,
    data: Path,
    work: Path,
    out: Path,
    family: str,
    seconds: float,
    groups: int,
    seeds: int,
    rate: float,
    ways: tuple[str, ...],
) -> None:
    """Train each way from the same weights and write its curve."""
    torch.set_num_threads(1)
    vae, config = load_vae(checkpoint)
    state = read_state(checkpoint / "lavin_dit.safetensors")
    work.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "stvae.safetensors"):
        (work / name).write_bytes((checkpoint / name).read_bytes())
    base = recipe("jdit", "edge")
    assert isinstance(base, DiTRecipe)
    settings = (f"size={SIZE}", f"tasks={family}:1", f"groups={groups}", f"batch={BATCH}")
    plan = override(base, [*settings, "at_noise=1", "drop=0", "queries=4"])

    def pools_for(way: str) -> LatentPools:
        chosen = replace(plan, foreground=HEAVY if way == "foreground" else 0.0)
        pools = open_pools(chosen, vae, config, work, data=data, own={}, processes=Processes())
        if way != "align":
            return pools
        return replace(pools, pools=[Recorded(**vars(pool)) for pool in pools.pools])

    seen = torch.empty(0)
    if "align" in ways:
        train = make_task(family, Collage.load(data, "train"), held_out=False)
        seen = F.normalize(features(train, groups, plan.seed).flatten(2).transpose(1, 2), dim=-1)
    held_out = make_task(family, Collage.load(data, "test"), held_out=True)
    held = HeldOut.of(held_out, vae, config, pairs=1, size=SIZE)
    rows = json.loads(out.read_text()) if out.exists() else []
    for seed in range(seeds):
        for way in ways:
            if any(
                (r["family"], r["way"], r["seed"], r.get("rate", RATE)) == (family, way, seed, rate)
                for r in rows
            ):
                continue
            torch.manual_seed(seed)
            dit = Laid(config.dit, Variant(queries=4))
            fill(dit, state, checkpoint)
            curve = train_way(
                dit,
                pools_for(way),
                replace(plan, seed=seed),
                way,
                seen,
                seconds,
                rate,
                lambda model: held.measure(model, vae, config, zeros=False),
            )
            rows.append({"family": family, "way": way, "seed": seed, "rate": rate, "curve": curve})
            print(family, way, seed, curve, flush=True)
            out.write_text(json.dumps(rows, indent=1))


def train_way(
    dit: Laid,
    pools: LatentPools,
    plan: DiTRecipe,
    way: str,
    seen: Tensor,
    budget: float,
    rate: float,
    measure: Callable[[JDiT], dict[str, float]],
) -> list[dict[str, float]]:
    """Train for ``budget`` CPU-seconds and measure averaged weights at its quarters."""
    width = dit.config.hidden_size
    head = nn.Sequential(
        nn.Linear(width, 512), nn.SiLU(), nn.Linear(512, 512), nn.SiLU(), nn.Linear(512, CHANNELS)
    )
    tokens: list[Tensor] = []

    def apart() -> Tensor:
        """How far the queries' tokens are from the features of their places, by cosine."""
        items = torch.from_numpy(np.concatenate(Recorded.drawn))
        told = F.normalize(head(tokens[0].float()), dim=-1)
        Recorded.drawn.clear()
        tokens.clear()
        return -0.5 * (told * seen[items]).sum(-1).mean()

    if way == "align":
        Recorded.drawn.clear()
        dit.blocks[BLOCK].register_forward_hook(lambda *args: tokens.append(args[-1][1]))
    optimizers = optimizers_of(nn.ModuleList([dit, head]), plan, muon=way == "muon")
    marks = [0.25, 0.5, 0.75, 1.0]
    more = apart if way == "align" else None
    return run(
        dit, pools, plan, budget, marks, measure, optimizers=optimizers, rate=rate, more_loss=more
    )


if __name__ == "__main__":
    main()

"""Layouts of pairs against each other: held-out loss and IoU by CPU-minutes of training.

    python benchmarks/pairing.py checkpoints/edge-all --data DATA --work DIR --json OUT.json

Every run starts from the same weights and sees the same pools in one thread, all answers from t = 0
under a learning rate that does not fall. Held out are sources and members that are never trained
on. `--plan` names the runs: family:variant:pairs. With `--first FAMILY:SECONDS` every run begins
with that family at 64 px in its own layout, before what is measured.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import click
import torch
from held_out_episodes import HeldOut, make_task
from torch import Tensor

from lavin_deploy.config import DiTConfig
from lavin_deploy.models.checkpoint import fill, load_vae
from lavin_deploy.models.jdit import JDiT, patchify, unpatchify
from lavin_deploy.models.pairing import merged_pairs, merged_state
from lavin_deploy.models.rope3d import rope_tables
from lavin_deploy.models.weights import read_state
from lavin_deploy.training.jdit import draw_batch
from lavin_deploy.training.latents.open import open_pools
from lavin_deploy.training.latents.pool import LatentPools
from lavin_deploy.training.loop.objective import make_optimizer
from lavin_deploy.training.loop.processes import Processes
from lavin_deploy.training.loop.settings import DiTRecipe
from lavin_deploy.training.recipes import override, recipe
from lavin_deploy.training.synthesis.collage import Collage

SIZE, BATCH, RATE, WARMUP, EMA = 64, 64, 1e-3, 50, 0.99


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A layout: which tokens are merged, what counts as a frame, where answers start."""

    merge_pairs: bool = True
    merge_query: bool = True
    shared_positions: bool = False
    context: Literal["joint", "frozen"] = "frozen"
    zeros: bool = False
    queries: int = 1


VARIANTS = {
    "merged": Variant(),
    "sequence": Variant(merge_pairs=False, merge_query=False),
    "pairs-merged": Variant(merge_query=False),
    "query-merged": Variant(merge_pairs=False),
    "shared-positions": Variant(merge_pairs=False, merge_query=False, shared_positions=True),
    "joint": Variant(context="joint"),
    "zeros": Variant(zeros=True),
    "two-queries": Variant(queries=2),
    "four-queries": Variant(queries=4),
    "eight-queries": Variant(queries=8),
}


class Laid(JDiT):
    """J-DiT whose tokens are laid out as a variant says."""

    def __init__(self, config: DiTConfig, variant: Variant) -> None:
        super().__init__(replace(config, pairing="merged", context=variant.context))
        self.variant = variant

    def forward(self, x: Tensor, t: Tensor, cond: Tensor, query: Tensor | None = None) -> Tensor:
        """As ``JDiT.forward`` with pairs and query apart."""
        assert query is not None
        variant, patch = self.variant, self.config.patch_size
        if variant.merge_pairs and variant.merge_query:
            return super().forward(x, t, cond, query)
        rows, cols = x.shape[-2] // patch, x.shape[-1] // patch
        *blocks, last = self.modulation(t).split(4 * self.config.hidden_size, dim=-1)
        clean = self.modulation(torch.ones_like(t[:1])).split(4 * self.config.hidden_size, dim=-1)
        blocks[::2] = clean[:-1:2]
        on_target, on_query = self.target_embedder, self.query_embedder
        if variant.merge_pairs:
            inputs, targets = merged_pairs(cond, 1)
            c = self.cond_embedder(patchify(inputs, patch)) + on_target(patchify(targets, patch))
        else:
            c = self.cond_embedder(patchify(cond, patch))
        pairs = c.shape[1]
        h = self.x_embedder(patchify(x, patch))
        if variant.merge_query:
            h = h + on_query(patchify(query, patch))
        else:
            c = torch.cat((c, self.cond_embedder(patchify(query, patch))), dim=1)
        frames = (c.shape[1] + h.shape[1]) // (rows * cols)
        cos, sin = rope_tables(frames, rows, cols, self.config.head_dim)
        if variant.shared_positions:
            order = torch.arange(frames) // 2
            places = (order[:, None] * rows * cols + torch.arange(rows * cols)).flatten()
            cos, sin = cos[places], sin[places]
        for index, block in enumerate(self.blocks):
            c, h = block(
                c,
                h,
                blocks[2 * index],
                blocks[2 * index + 1],
                cos,
                sin,
                last=index == len(self.blocks) - 1,
                frozen_pairs=pairs,
            )
        return unpatchify(self.final_layer(h, last), *x.shape[2:], patch)


def update(
    optimizers: Sequence[torch.optim.Optimizer], loss: Tensor, step: int, rate: float = RATE
) -> None:
    """One clipped step at the rate of its number, without a fall."""
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    parameters = []
    for group in groups:
        group["lr"] = rate * min(1.0, (step + 1) / WARMUP)
        parameters += group["params"]
    for parameter in parameters:
        parameter.grad = None
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    for optimizer in optimizers:
        optimizer.step()


@torch.no_grad()
def average(averaged: JDiT, dit: JDiT, step: int) -> None:
    """Move the averaged weights towards the live ones after ``step`` steps."""
    decay = min(EMA, (1 + step) / (10 + step))
    for mean, live in zip(averaged.parameters(), dit.parameters(), strict=True):
        mean.lerp_(live, 1 - decay)


def run(
    dit: Laid,
    pools: LatentPools,
    plan: DiTRecipe,
    budget: float,
    marks: list[float],
    measure: Callable[[JDiT], dict[str, float]],
    *,
    optimizers: Sequence[torch.optim.Optimizer] = (),
    rate: float = RATE,
    more_loss: Callable[[], Tensor] | None = None,
) -> list[dict[str, float]]:
    """Train for ``budget`` CPU-seconds; measure averaged weights at the marks.

    Args:
        dit: moved, by AdamW unless ``optimizers`` are given.
        pools: to draw from.
        plan: how.
        budget: CPU-seconds.
        marks: shares of the budget.
        measure: of averaged weights.
        optimizers: of these and other parameters.
        rate: learning rate.
        more_loss: what is added to a step's error after its forward pass.

    Returns:
        A row a mark.
    """
    variant = dit.variant
    optimizers = optimizers or [make_optimizer(dit, plan)]
    averaged = Laid(dit.config, variant)
    averaged.load_state_dict(dit.state_dict())
    curve, spent, step = [], 0.0, 0
    todo = list(marks)
    while todo:
        start = time.process_time()
        pairs, query, data, noise, times, weights = draw_batch(pools, plan, step, range(plan.batch))
        noise = torch.zeros_like(noise) if variant.zeros else noise
        with torch.autocast("cpu", torch.bfloat16):
            v = dit(noise, times, pairs, query)
        loss = ((v.float() - (data - noise)).square() * weights).mean()
        if more_loss is not None:
            loss = loss + more_loss()
        update(optimizers, loss, step, rate)
        step += 1
        average(averaged, dit, step)
        spent += time.process_time() - start
        if spent >= todo[0] * budget:
            todo.pop(0)
            row = {"cpu_seconds": round(spent, 1), "steps": step, **measure(averaged)}
            curve.append({k: round(v, 4) for k, v in row.items()})
    return curve


@click.command()
@click.argument("checkpoint", type=Path)
@click.option("--data", type=Path, required=True)
@click.option("--work", type=Path, required=True, help="Folder for the pools.")
@click.option("--json", "out", type=Path, required=True)
@click.option("--seconds", default=90.0, help="CPU-seconds of each run.")
@click.option("--groups", default=400)
@click.option("--seeds", default=2)
@click.option("--first", default=None, help="FAMILY:SECONDS to begin with, at 64 px.")
@click.option("--size", default=SIZE, show_default=True, help="Side in pixels.")
@click.option("--plan", "names", multiple=True, required=True, help="family:variant:pairs")
def main(
    checkpoint: Path,
    data: Path,
    work: Path,
    out: Path,
    seconds: float,
    groups: int,
    seeds: int,
    first: str | None,
    size: int,
    names: tuple[str, ...],
) -> None:
    """Train every run of the plan and write its curve."""
    torch.set_num_threads(1)
    vae, config = load_vae(checkpoint)
    state = read_state(checkpoint / "lavin_dit.safetensors")
    work.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "stvae.safetensors"):
        (work / name).write_bytes((checkpoint / name).read_bytes())
    test = Collage.load(data, "test")
    rows = json.loads(out.read_text())["runs"] if out.exists() else []
    for seed in range(seeds):
        for text in names:
            family, kind, pairs = text.split(":")
            if any((r["plan"], r["seed"], r.get("first")) == (text, seed, first) for r in rows):
                continue
            variant = VARIANTS[kind]

            def plan_for(
                name: str, side: int, pairs: str = pairs, variant: Variant = variant
            ) -> DiTRecipe:
                base = recipe("jdit", "edge")
                assert isinstance(base, DiTRecipe)
                settings = f"size={side},groups={groups},max_pairs={pairs},batch={BATCH},at_noise=1"
                more = [f"tasks={name}:1", "drop=0", f"queries={variant.queries}"]
                return override(base, [*settings.split(","), *more])

            def pools_of(plan: DiTRecipe) -> LatentPools:
                return open_pools(plan, vae, config, work, data=data, own={}, processes=Processes())

            plan = plan_for(family, size)
            pools = pools_of(plan)
            plan = replace(plan, seed=seed)
            task = make_task(family, test, held_out=True)
            held = HeldOut.of(task, vae, config, pairs=int(pairs), size=size)
            torch.manual_seed(seed)
            dit = Laid(config.dit, variant)
            fill(dit, merged_state(state), checkpoint)
            if first is not None:
                before, _, budget = first.partition(":")
                earlier = plan_for(before, SIZE)
                earlier_pools = pools_of(earlier)
                earlier = replace(earlier, seed=seed)
                run(dit, earlier_pools, earlier, float(budget), [1.0], lambda _: {})

            def measure(model: JDiT, held: HeldOut = held, zeros: bool = variant.zeros):  # type: ignore[no-untyped-def]
                return held.measure(model, vae, config, zeros=zeros)

            curve = run(dit, pools, plan, seconds, [0.25, 0.5, 0.75, 1.0], measure)
            rows.append({"plan": text, "seed": seed, "first": first, "curve": curve})
            print(text, seed, curve[-1], flush=True)
            out.write_text(json.dumps({"size": size, "batch": BATCH, "runs": rows}, indent=1))


if __name__ == "__main__":
    main()

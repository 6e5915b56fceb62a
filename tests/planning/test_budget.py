"""Counts against torch on real small models, and against the bundle that ships."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import lavin_deploy
from lavin_deploy import names
from lavin_deploy.bundle.manifest import Graph, Manifest
from lavin_deploy.config import DiTConfig, ModelConfig, VAEConfig, preset
from lavin_deploy.errors import InputError
from lavin_deploy.export.graphs.dialects import DIALECT_OPS
from lavin_deploy.export.graphs.frozen import ContextGraph, NullQueryGraph, TargetGraph
from lavin_deploy.export.graphs.fused import FusedDiT
from lavin_deploy.export.graphs.savings import DEFAULT
from lavin_deploy.export.graphs.step import StepGraph
from lavin_deploy.models.jdit import JDiT
from lavin_deploy.models.stvae import STVAE
from lavin_deploy.models.vae2d import Decoder2d, Encoder2d
from lavin_deploy.planning.budget import PRECISIONS, Budget, Setting, budget, count_graph
from lavin_deploy.planning.counts import Count

pytestmark = pytest.mark.unit

EDGE = Path(lavin_deploy.__file__).parent / "bundles" / "edge.lavin"
TINY = preset("tiny")
ODD = ModelConfig(
    dit=DiTConfig(hidden_size=144, depth=2, num_heads=6, kv_group=3),
    vae=VAEConfig(
        block_out_channels=(16, 32, 32, 48),
        layers_per_block=2,
        norm_groups=16,
        upsampler="deconv",
    ),
)
HEIGHT, WIDTH, PAIRS = 64, 96, 2
ROWS, COLS = HEIGHT // 8, WIDTH // 8


def count(model: ModelConfig, name: str, *, frozen: bool = True) -> Count:
    return count_graph(model, name, height=HEIGHT, width=WIDTH, pairs=PAIRS, frozen=frozen)


def flops(module: nn.Module, *inputs: torch.Tensor) -> int:
    # The counter does not know the CPU's fused attention; the plain one is products that it counts.
    plain = sdpa_kernel(SDPBackend.MATH)
    with torch.no_grad(), plain, FlopCounterMode(display=False) as counter:
        module(*inputs)
    return counter.get_total_flops()


def latents(frames: int) -> torch.Tensor:
    return torch.randn(1, 16, frames, ROWS, COLS)


def keys_values(model: ModelConfig, frames: int) -> list[torch.Tensor]:
    tokens = frames * ROWS * COLS // 4
    shape = (1, model.dit.num_kv_heads, tokens, model.dit.head_dim)
    return [torch.randn(shape) for _ in range(2 * model.dit.depth)]


Case = Callable[[FusedDiT, ModelConfig], tuple[nn.Module, list[torch.Tensor]]]
GRID = {"rows": ROWS, "cols": COLS}
FRAMES = 2 * PAIRS + 1
CASES: dict[tuple[str, bool], Case] = {
    ("step", False): lambda fused, _: (
        StepGraph(fused, context_frames=FRAMES, **GRID),
        [latents(1), latents(FRAMES)],
    ),
    ("refresh", True): lambda fused, _: (
        StepGraph(fused, context_frames=FRAMES, with_context=True, **GRID),
        [latents(1), latents(FRAMES)],
    ),
    ("step_null", False): lambda fused, _: (
        StepGraph(fused, context_frames=2, **GRID),
        [latents(1), latents(2)],
    ),
    ("context", True): lambda fused, _: (
        ContextGraph(fused, start=0, frames=2 * PAIRS, **GRID),
        [latents(2 * PAIRS)],
    ),
    ("query", True): lambda fused, model: (
        ContextGraph(fused, start=2 * PAIRS, frames=1, **GRID),
        [latents(1), *keys_values(model, 2 * PAIRS)],
    ),
    ("query_null", True): lambda fused, _: (NullQueryGraph(fused, **GRID), [latents(1)]),
    ("step", True): lambda fused, model: (
        TargetGraph(fused, context_frames=FRAMES, **GRID),
        [latents(1), *keys_values(model, FRAMES)],
    ),
    ("step_null", True): lambda fused, model: (
        TargetGraph(fused, context_frames=2, **GRID),
        [latents(1), *keys_values(model, 2)],
    ),
}


MERGED_CASES: dict[tuple[str, bool], Case] = {
    ("step", False): lambda fused, _: (
        StepGraph(fused, context_frames=PAIRS, **GRID),
        [latents(1), latents(FRAMES)],
    ),
    ("refresh_null", True): lambda fused, _: (
        StepGraph(fused, context_frames=1, with_context=True, **GRID),
        [latents(1), latents(2)],
    ),
    ("context", True): lambda fused, _: (
        ContextGraph(fused, start=0, frames=PAIRS, **GRID),
        [latents(2 * PAIRS)],
    ),
    ("context_null", True): lambda fused, _: (
        ContextGraph(fused, start=0, frames=1, **GRID),
        [latents(1)],
    ),
    ("step", True): lambda fused, model: (
        TargetGraph(fused, context_frames=PAIRS, **GRID),
        [latents(1), latents(1), *keys_values(model, PAIRS)],
    ),
    ("step_null", True): lambda fused, model: (
        TargetGraph(fused, context_frames=1, **GRID),
        [latents(1), latents(1), *keys_values(model, 1)],
    ),
}


MERGED = replace(TINY, dit=replace(TINY.dit, pairing="merged"))


@pytest.mark.parametrize(
    ("model", "cases", "name", "frozen"),
    [(model, CASES, *key) for model in (TINY, ODD) for key in CASES]
    + [(MERGED, MERGED_CASES, *key) for key in MERGED_CASES],
)
def test_flops_of_jdit_are_those_torch_counts(
    model: ModelConfig, cases: dict[tuple[str, bool], Case], name: str, frozen: bool
) -> None:
    dit = JDiT(model.dit).eval()
    module, inputs = cases[name, frozen](FusedDiT(dit, DIALECT_OPS["native"], DEFAULT), model)
    row = torch.randn(1, dit.modulation_width)
    at = 2 if isinstance(module, StepGraph) else 1
    counted = flops(module, *inputs[:at], row, *inputs[at:])
    assert count(model, name, frozen=frozen).flops == counted


@pytest.mark.parametrize("model", [TINY, ODD], ids=["tiny", "odd"])
def test_flops_and_weights_of_the_vae_are_those_of_torch(model: ModelConfig) -> None:
    vae = STVAE(model.vae).eval()
    pixels = torch.randn(1, 3, 1, HEIGHT, WIDTH)
    parts = {"encoder": (Encoder2d(vae), pixels), "decoder": (Decoder2d(vae), latents(1))}
    for name, (module, inputs) in parts.items():
        counted = count(model, name)
        assert counted.flops == pytest.approx(flops(module, inputs), rel=0.01)
        assert counted.weights == sum(p.numel() for p in module.parameters())


def test_a_whole_step_of_the_published_size_without_dead_work() -> None:
    place = {"height": 512, "width": 512, "pairs": 4}
    whole = count_graph(preset("3.4b"), "step", **place, frozen=False)
    frozen = count_graph(preset("3.4b"), "step", **place, frozen=True)
    query = count_graph(preset("3.4b"), "query", **place, frozen=True)
    assert whole.flops / 1e12 == pytest.approx(46.4 - 1.85, abs=0.05)  # 1.85 is the dead part
    assert (20 * frozen.flops + query.flops) / 1e12 == pytest.approx(97, abs=0.5)
    assert frozen.weights / 1e9 == pytest.approx(1.227, abs=0.001)


@pytest.fixture(scope="module")
def edge() -> Manifest:
    return Manifest.from_text((EDGE / "manifest.json").read_text())


def edge_setting(manifest: Manifest, guidance: float = 1.0) -> Setting:
    model = ModelConfig.from_dict(manifest.model)
    return Setting(
        model=model,
        height=128,
        width=128,
        pairs=1,
        precision="fp32",
        frozen=True,
        guidance=guidance,
    )


def stored_weights(graph: Graph) -> int:
    """Numbers in the float initialisers of a graph that are of the model: all but RoPE's tables and
    what operators need as constants, of 16 numbers at the most."""
    model = onnx.load(EDGE / graph.file, load_external_data=False)
    total = 0
    for tensor in model.graph.initializer:
        numbers = 1
        for side in tensor.dims:
            numbers *= side
        is_float = tensor.data_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
        constant = tensor.name.startswith("val_") and numbers <= 16
        if is_float and not constant and "rope." not in tensor.name:
            total += numbers
    return total


def test_weights_are_those_of_the_bundle_that_ships(edge: Manifest) -> None:
    stages = {s.graph: s for s in budget(edge_setting(edge, guidance=1.5)).stages}
    graphs = {graph.name: graph for graph in edge.variants[0].graphs}
    assert set(stages) == set(graphs) - {"modulation"}
    for name, stage in stages.items():
        # query_null also stores one all-zero frame
        zeros = 16 * 16 * 16 if name == "query_null" else 0
        assert stage.weights == 4 * (stored_weights(graphs[name]) - zeros), name


def test_keys_and_values_are_those_of_the_bundle_that_ships(edge: Manifest) -> None:
    variant = edge.variants[0]

    def size(name: str, pairs: int | None) -> int:
        shapes = [t.shape for t in variant.graph(name, height=128, width=128, pairs=pairs).outputs]
        return sum(4 * torch.Size(shape).numel() for shape in shapes)

    plain = budget(edge_setting(edge)).keys_values
    assert plain == size("context", 1) + size("query", 1)
    guided = budget(edge_setting(edge, guidance=2.0)).keys_values
    assert guided == plain + size("query_null", None)


def test_there_are_numbers_for_every_precision() -> None:
    assert set(PRECISIONS) == set(names.PRECISIONS)


def test_precisions_change_bytes_and_nothing_else() -> None:
    setting = Setting(
        model=TINY, height=64, width=64, pairs=2, precision="fp32", frozen=True, guidance=1.0
    )
    budgets = {p: budget(replace(setting, precision=p)) for p in ("fp32", "fp16", "bf16", "int8")}
    assert budgets["fp16"].weights * 2 == budgets["bf16"].weights * 2 == budgets["fp32"].weights
    assert (
        budgets["fp16"].keys_values * 2
        == budgets["bf16"].keys_values
        == budgets["int8"].keys_values
    )
    assert budgets["fp16"].weights < budgets["int8"].weights < budgets["fp32"].weights
    counts = {name: [stage.count for stage in one.stages] for name, one in budgets.items()}
    assert counts["fp16"] == counts["int8"] == counts["fp32"]
    assert all(one.total > one.weights for one in budgets.values())


def stages(one: Budget) -> list[str]:
    return [stage.graph for stage in one.stages]


def test_stages_and_their_runs() -> None:
    setting = Setting(model=TINY, height=64, width=64, pairs=2, precision="fp16", frozen=False)
    assert stages(budget(setting)) == ["encoder", "step", "decoder"]
    joint = budget(replace(setting, guidance=1.5))
    assert stages(joint) == ["encoder", "step", "step_null", "decoder"]
    assert joint.keys_values == 0
    frozen = budget(replace(setting, frozen=True))
    runs = {stage.graph: stage.runs(4, None) for stage in frozen.stages}
    assert runs == {"encoder": 1, "context": 0, "query": 1, "step": 4, "decoder": 1}
    merged = replace(setting, model=replace(TINY, dit=replace(TINY.dit, pairing="merged")))
    whole, shared = (budget(replace(each, frozen=True, guidance=2.0)) for each in (setting, merged))
    runs = {stage.graph: stage.runs(4, None) for stage in shared.stages}
    once = {"encoder": 1, "context": 0, "context_null": 0, "decoder": 1}
    assert runs == {**once, "step": 4, "step_null": 4}
    # 2 pairs and the null pair, in place of 4 frames, these again with the query's, and 2.
    assert shared.keys_values * 11 == whole.keys_values * 3
    refresh = budget(replace(setting, frozen=True, refresh=4))
    runs = {stage.graph: stage.runs(19, 4) for stage in refresh.stages}
    assert runs == {"encoder": 1, "refresh": 5, "step": 14, "decoder": 1}


def test_what_cannot_be_counted_is_refused() -> None:
    setting = Setting(model=TINY, height=64, width=64, pairs=1, precision="fp16", frozen=False)
    with pytest.raises(InputError, match=r"64x72 cannot be cut .* multiples of 16"):
        budget(replace(setting, width=72))
    with pytest.raises(InputError, match=r"unknown precision 'fp61'. Did you mean 'fp16'"):
        budget(replace(setting, precision="fp61"))

"""The two kernels against torch: are the numbers right, and how fast are they?

    python benchmarks/gpu_kernels.py build/plugins/liblavin_plugins.so --json FILE

Parity: error against float64, beside the error of torch's own operators in the same type; at most
twice theirs passes. Speed: attention against scaled_dot_product_attention at 4096 tokens, 32 heads
over 8, width 72; RoPE with QK-Norm at 65,536 tokens against the copy bandwidth of the same run.
Medians of CUDA events after warm-up, interleaved. With ``liblavin_reference.so`` everything runs on
the CPU at small sizes, which tests this script and says nothing about speed.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import torch
import torch.nn.functional as F
from torch import Tensor

from lavin_deploy.engines.plugins.functions import AttentionArgs, PluginKernels, RopeArgs

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
PARITY = [  # heads, kv heads, queries, keys, past, width
    (4, 2, 64, 64, 0, 24),
    (6, 2, 64, 64, 192, 48),
    (32, 8, 256, 256, 1024, 72),
    (8, 1, 77, 129, 63, 128),
    (16, 16, 130, 1, 5, 8),
]
EPSILON = 1e-6


@dataclass(frozen=True, kw_only=True)
class Parity:
    """Largest errors against float64, relative to the largest value."""

    kernel: str
    dtype: str
    shape: Sequence[int]
    error: float
    torch_error: float
    passed: bool


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Median milliseconds, and ours over another's: above 1 is faster."""

    what: str
    dtype: str
    ms: float
    torch_ms: float
    ratio: float


class Calls:
    """The kernels on torch's tensors."""

    def __init__(self, library: Path) -> None:
        self.kernels = PluginKernels(library)
        self.reference = "reference" in library.name
        self.device = "cpu" if self.reference else "cuda"

    @property
    def stream(self) -> int:
        return 0 if self.reference else int(torch.cuda.current_stream().cuda_stream)

    def attention(self, q: Tensor, k: Tensor, v: Tensor, past: int, out: Tensor) -> None:
        """(N, Lq, E), (K, P + L, E) split into prefix and rest -> (Lq, N E)."""
        parts = [x.contiguous() for x in (k[:, past:], v[:, past:], k[:, :past], v[:, :past])]
        places = [x.data_ptr() if x.numel() else None for x in parts]
        sizes = (q.shape[1], k.shape[1] - past, past, q.shape[0], k.shape[0], q.shape[2])
        args = AttentionArgs(q.data_ptr(), *places, out.data_ptr(), *sizes, q.shape[2] ** -0.5)
        self.kernels.attention(args, name_of(q), self.stream)

    def rope(self, inputs: Sequence[Tensor], outs: Sequence[Tensor], width: int) -> None:
        """q (L, N E), k (L, K E), weights, cos, sin -> (N, L, E), (K, L, E)."""
        q, k = inputs[:2]
        sizes = (q.shape[0], q.shape[1] // width, k.shape[1] // width, width)
        args = RopeArgs(*(x.data_ptr() for x in (*inputs, *outs)), *sizes, EPSILON)
        self.kernels.rope3d(args, name_of(q), self.stream)


def name_of(x: Tensor) -> str:
    return str(x.dtype).removeprefix("torch.")


def sdpa(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """torch's attention, (Lq, N E)."""
    mixed = F.scaled_dot_product_attention(q[None], k[None], v[None], enable_gqa=True)
    return mixed[0].transpose(0, 1).flatten(1)


def rope(inputs: Sequence[Tensor], width: int) -> list[Tensor]:
    """QK-Norm and rotation in torch's operators, in the type of the data."""
    q, k, q_weight, k_weight, cos, sin = inputs
    outputs = []
    for x, weight in ((q, q_weight), (k, k_weight)):
        normed = F.rms_norm(x, weight.shape, weight.to(x.dtype), EPSILON)
        a, b = normed.unflatten(1, (-1, width)).chunk(2, dim=-1)
        c, s = (table.to(x.dtype)[:, None] for table in (cos, sin))
        outputs.append(torch.cat([a * c - b * s, b * c + a * s], dim=-1).transpose(0, 1))
    return outputs


def rope_inputs(
    tokens: int, heads: int, groups: int, width: int, dtype: torch.dtype, device: str
) -> list[Tensor]:
    x = [torch.randn(tokens, n * width, device=device).to(dtype) for n in (heads, groups)]
    weights = [torch.rand(n * width, device=device) + 0.5 for n in (heads, groups)]
    angles = torch.rand(tokens, width // 2, device=device) * 6
    return [*x, *weights, angles.cos(), angles.sin()]


def distance(values: Tensor, exact: Tensor) -> float:
    return float((values.double() - exact).abs().max() / exact.abs().max())


def check(calls: Calls) -> list[Parity]:
    """Every case in every type; float32 is allowed 2e-6 where torch happens to be exact."""
    rows = []
    for shape in PARITY:
        heads, groups, queries, keys, past, width = shape
        for dtype in DTYPES:
            q = torch.randn(heads, queries, width, device=calls.device).to(dtype)
            k, v = torch.randn(2, groups, past + keys, width, device=calls.device).to(dtype)
            out = torch.full((queries, heads * width), torch.nan, device=calls.device, dtype=dtype)
            calls.attention(q, k, v, past, out)
            exact = sdpa(q.double(), k.double(), v.double())
            errors = distance(out, exact), distance(sdpa(q, k, v), exact)
            rows.append(compared("attention", dtype, shape, *errors))
            inputs = rope_inputs(queries, heads, groups, width, dtype, calls.device)
            outs = [
                torch.full((n, queries, width), torch.nan, device=calls.device, dtype=dtype)
                for n in (heads, groups)
            ]
            calls.rope(inputs, outs, width)
            right = rope([x.double() for x in inputs], width)
            mine = max(map(distance, outs, right))
            its = max(map(distance, rope(inputs, width), right))
            rows.append(compared("rope3d", dtype, shape, mine, its))
    return rows


def compared(
    kernel: str, dtype: torch.dtype, shape: Sequence[int], error: float, torch_error: float
) -> Parity:
    floor = 2e-6 if dtype == torch.float32 else torch.finfo(dtype).eps
    return Parity(
        kernel=kernel,
        dtype=str(dtype).removeprefix("torch."),
        shape=shape,
        error=error,
        torch_error=torch_error,
        passed=error <= max(2 * torch_error, floor),
    )


def milliseconds(calls: Sequence[Callable[[], object]], rounds: int, device: str) -> list[float]:
    """Medians, the calls taking turns."""
    times: list[list[float]] = [[] for _ in calls]
    for turn in range(rounds + 5):
        for call, mine in zip(calls, times, strict=True):
            if device == "cuda":
                first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                torch.cuda._sleep(1_000_000)  # half a millisecond: the launch waits in the queue
                first.record()
                call()
                last.record()
                torch.cuda.synchronize()
                spent = first.elapsed_time(last)
            else:
                start = time.perf_counter()
                call()
                spent = 1e3 * (time.perf_counter() - start)
            if turn >= 5:
                mine.append(spent)
    return [statistics.median(mine) for mine in times]


def race(calls: Calls, rounds: int) -> list[Speed]:
    """Speed at the sizes that the project promises; small ones on the CPU."""
    tokens, many = (64, 128) if calls.reference else (4096, 65536)
    heads, groups, width = 32, 8, 72
    rows = []
    for dtype in (torch.float16, torch.bfloat16):
        q = torch.randn(heads, tokens, width, device=calls.device).to(dtype)
        k, v = torch.randn(2, groups, tokens, width, device=calls.device).to(dtype)
        out = torch.empty(tokens, heads * width, device=calls.device, dtype=dtype)
        mine, its = milliseconds(
            [lambda: calls.attention(q, k, v, 0, out), lambda: sdpa(q, k, v)],  # noqa: B023
            rounds,
            calls.device,
        )
        shape = f"attention, {tokens} tokens x {heads}/{groups} heads x {width}, against SDPA"
        rows.append(speed(shape, dtype, mine, its))
        inputs = rope_inputs(many, heads, groups, width, dtype, calls.device)
        outs = [
            torch.empty(n, many, width, device=calls.device, dtype=dtype) for n in (heads, groups)
        ]
        data = torch.cat([x.flatten() for x in inputs[:2]])
        into = torch.empty_like(data)
        mine, its = milliseconds(
            [lambda: calls.rope(inputs, outs, width), lambda: into.copy_(data)],  # noqa: B023
            rounds,
            calls.device,
        )
        rows.append(speed(f"rope3d, {many} tokens, against a copy", dtype, mine, its))
    return rows


def speed(what: str, dtype: torch.dtype, mine: float, its: float) -> Speed:
    kind = str(dtype).removeprefix("torch.")
    return Speed(what=what, dtype=kind, ms=mine, torch_ms=its, ratio=its / mine)


@click.command()
@click.argument("library", type=Path)
@click.option("--rounds", type=click.IntRange(0), default=30, help="0: no timing.")
@click.option("--json", "out", type=Path, help="Write the figures there.")
def main(library: Path, rounds: int, out: Path | None) -> None:
    """Check and time; exit code 1 where a number is wrong."""
    torch.manual_seed(0)
    calls = Calls(library)
    where = "CPU" if calls.reference else torch.cuda.get_device_name()
    parity = check(calls)
    speeds = race(calls, rounds) if rounds else []
    report = {
        "device": where,
        "torch": torch.__version__,
        "parity": [asdict(each) for each in parity],
        "speed": [asdict(each) for each in speeds],
    }
    if out is not None:
        out.write_text(json.dumps(report, indent=1) + "\n")
    wrong = [each for each in parity if not each.passed]
    click.echo(f"{where}: {len(parity) - len(wrong)} of {len(parity)} numbers are right")
    for each in wrong:
        click.echo(f"wrong: {each}")
    for row in speeds:
        click.echo(
            f"{row.what}, {row.dtype}: {row.ms:.3f} ms, {row.torch_ms:.3f} ms, {row.ratio:.2f} x"
        )
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()

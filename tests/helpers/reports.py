"""A report as an export writes it: variants that passed, that was forced, and that was not run."""

from __future__ import annotations

from typing import Any

import numpy as np

from lavin_deploy.arrays import U8
from lavin_deploy.export.report.page import Comparison

TASKS = ("edges", "segment <b>people</b>")
LIMITS = {
    **{"rel_l2": 3e-3, "cosine": 0.9999, "p99": 1e-2, "range": 0.5, "factor": 2.0},
    **{"task_drop": 0.5, "speedup": 1.0},
}
STAGES = ("x_mlp", "cond_mlp", "attention.qkv", "attention.out", "modulation")


def report(blocks: int = 12) -> dict[str, Any]:
    step = "graphs/step-fp16-native-256x256-2.onnx"
    parity = [
        {
            "graph": f"graphs/{name}-fp32-native-{side}x{side}.onnx:{output}",
            **{"seed": seed, "max": 1.2e-8 * side / seed, "mean": 4.2e-7, "p99": 1.9e-6},
            **{"worst": [0, 7, 11, 3], "reference_max": 4.0625},
        }
        for name, output in (("encoder", "latent"), ("decoder", "image"), ("step", "velocity"))
        for side in (256, 384)
        for seed in (1, 2)
    ]
    return {
        "name": "edge <b>bold</b>",
        "created_by": "lavin-deploy 0.1.0",
        "versions": {"torch": "2.13.0", "onnx": "1.22.0", "onnxruntime": "1.23.2"},
        "machine": {"cpu": "Some Processor (R) v5", "cores": 2},
        "model": {"dit": {"width": 256, "depth": blocks, "qk_norm": True}, "sizes": [256, 384]},
        "parity": parity,
        "variants": [
            _variant("fp32", 92_345_678, [], {}),
            {
                **_variant("fp16", 46_712_345, _modules(step, blocks), {"norm_statistics": 40}),
                "gate": _gate(7.9e-4, speed=1.314),
                "islands": ["blocks.3.x_mlp", "blocks.11.attention.out"],
                "wide": {"norm_statistics": 40, "range": 2, "blocks.3.x_mlp": 7},
            },
            {
                **_variant("int8", 24_812_345, _modules(step, blocks), {"accumulators": 96}),
                "dialect": "portable",
                "context": "frozen",
                "gate": _gate(4.1e-2, speed=0.87, drop=1.625),
                "calibration": {"sha256": "ab" * 32, "samples": 64},
            },
            {
                **_variant("bf16", 46_712_345, [], {}),
                "gate": {**_gate(None), "not_run": "not run in a runtime: bf16"},
            },
        ],
        "timings": {
            "fp32 native": {"setup": 812.4, "encode": 41.2, "step": 96.31, "decode": 60.17},
            "fp16 native": {"setup": 1204.0, "encode": 30.8, "step": 73.3, "decode": None},
        },
    }


def pictures() -> list[Comparison]:
    draw = np.random.default_rng(5)
    comparisons = []
    for task, side in zip(TASKS, (48, 200), strict=True):
        rows, columns = np.mgrid[:side, :side] * 255 // side
        query = np.stack([rows, columns, rows[::-1]], axis=-1).astype(np.uint8)
        truth = 255 - query
        answers = {"fp32 native": _near(draw, truth, 0)}
        answers |= {f"{p} native": _near(draw, truth, n) for p, n in (("fp16", 2), ("int8", 25))}
        reference = truth if task == TASKS[0] else None
        comparisons.append(Comparison(task=task, query=query, truth=reference, answers=answers))
    return comparisons


def _near(draw: np.random.Generator, image: U8, levels: int) -> U8:
    noise = draw.integers(-levels, levels + 1, image.shape)
    return np.clip(image.astype(np.int64) + noise, 0, 255).astype(np.uint8)


def _variant(
    precision: str, count: int, modules: list[dict[str, Any]], wide: dict[str, int]
) -> dict[str, Any]:
    operators = {"MatMul": 96, "Mul": 61, "Add": 52, "RMSNormalization": 48, "Softmax": 12}
    if precision != "fp32":
        operators["Cast"] = 44
    graphs = [
        {
            "file": f"graphs/{name}-{precision}-native-256x256.onnx",
            **{"bytes": 81_234 + 9 * i, "nodes": sum(operators.values()), "operators": operators},
        }
        for i, name in enumerate(("encoder", "decoder", "step", "step_null", "modulation"))
    ]
    return {
        **{"precision": precision, "dialect": "native", "context": "joint", "bytes": count},
        **{"graphs": graphs, "gate": _gate(3.2e-6), "wide": wide, "islands": []},
        **{"modules": modules, "calibration": None},
    }


def _gate(
    worst: float | None, *, speed: float | None = None, drop: float = 0.0625
) -> dict[str, Any]:
    """Return a gate; no worst error stands for values that are not finite."""
    limit = LIMITS["rel_l2"]
    checks = [
        {
            **{"graph": f"graphs/{name}.onnx", "output": output, "runtime": runtime},
            **{"cosine": None if error is None else 1 - error**2 / 2, "rel_l2": error},
            **{"p99": error, "finite": error is not None, "largest": error and 11.25},
            **{"torch_rel_l2": 6.5e-4, "passed": error is not None and error <= limit},
            "why": "" if error is not None and error <= limit else f"{output} is beyond the limit",
        }
        for runtime in ("onnxruntime", "torch")
        for name, output, error in (
            ("encoder-256x256", "latent", 1e-6),
            ("decoder-256x256", "image", worst and worst / 3),
            ("step-256x256-2", "velocity", worst),
        )
    ]
    passed = all(check["passed"] for check in checks) and drop <= LIMITS["task_drop"]
    return {
        **{"passed": passed, "forced": not passed, "limits": LIMITS, "checks": checks},
        "tasks": [
            {
                **{"task": task, "metric": "PSNR", "base": 31.25, "value": 31.25 - drop},
                **{"drop": drop, "passed": drop <= LIMITS["task_drop"]},
            }
            for task in TASKS
        ],
        "speed": speed
        and {
            **{"milliseconds": 96.31 / speed, "base_milliseconds": 96.31, "ratio": speed},
            **{"backend": "onnxruntime cpu", "passed": speed >= LIMITS["speedup"]},
        },
        "not_run": "",
    }


def _modules(graph: str, blocks: int) -> list[dict[str, Any]]:
    names = [f"blocks.{i}.{stage}" for i in range(blocks) for stage in STAGES]
    rows = [
        {"graph": graph, "module": name, "rel_l2": 6e-4 * 0.87**i} for i, name in enumerate(names)
    ]
    short = [
        {"graph": "graphs/decoder.onnx", "module": "conv_in<b>", "rel_l2": 2e-4},
        {"graph": "graphs/decoder.onnx", "module": "up.0.norm", "rel_l2": 0.0},
        {"graph": "graphs/decoder.onnx", "module": "up.1.norm", "rel_l2": None},
    ]
    return rows + short

"""One JSON and one table of what the parts of ``scripts/gpu_check.sh`` wrote.

    python benchmarks/gpu_report.py FOLDER

Reads ``FOLDER/*.json`` and writes ``FOLDER/report/gpu-check.json`` and ``gpu-check.md``; parts that
did not run are named.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

PARTS = ("machine", "kernels", "sanitizer", "engines", "goldens", "answers")
Results = Mapping[str, Mapping[str, Any]]


def named(results: Results, part: str) -> dict[str, Mapping[str, Any]]:
    """Files of a part: ``answers-edge-frozen`` belongs to ``answers``."""
    return {name: data for name, data in results.items() if name.partition("-")[0] == part}


def table(heads: str, rows: list[str]) -> Iterator[str]:
    columns = heads.count("|") + 1
    yield from ("", f"| {heads} |", "|" + "---|" * columns, *rows)


def failed(data: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"- FAILED {failure}" for failure in data["failures"])


def kernels(data: Mapping[str, Any]) -> Iterator[str]:
    right = sum(row["passed"] for row in data["parity"])
    where = f"Kernels against torch {data['torch']} on {data['device']}"
    yield f"{where}: {right} of {len(data['parity'])} numbers are right."
    rows = [
        f"| {row['what']} | {row['dtype']} | {row['ms']:.3f} | {row['torch_ms']:.3f} "
        f"| {row['ratio']:.2f} |"
        for row in data["speed"]
    ]
    yield from table("kernel | type | ms | other ms | times as fast", rows)


def sanitizer(data: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"compute-sanitizer {tool}: {said}." for tool, said in data.items())


def engines(name: str, data: Mapping[str, Any]) -> Iterator[str]:
    wrong = [row for row in data["rows"] if not row["passed"]]
    right = f"{len(data['rows']) - len(wrong)} of {len(data['rows'])} outputs"
    yield f"{name}, {data['backend']}: {right} are within twice torch's error."
    for row in wrong:
        place = f"{row['precision']} {row['dialect']} {row['graph']} {row['output']}"
        yield f"- WRONG: {place}: {row['error']:.1e}, torch {row['torch_error']:.1e}"
    yield from failed(data)


def goldens(data: Mapping[str, Any]) -> Iterator[str]:
    yield "Whole answers of the golden weights."
    rows = [
        f"| {row['precision']} {row['dialect']} | {row['guidance']:g} | {row['deviation']:.1e} "
        f"| {row['later']:.1e} | {'yes' if row['passed'] else 'NO'} |"
        for row in data["rows"]
    ]
    yield from table("variant | guidance | off by | later answers | right", rows)
    yield from failed(data)


def answers(data: Mapping[str, Any]) -> Iterator[str]:
    height, width = data["size"]
    size = f"{height}x{width}, {data['pairs']} pairs, {data['steps']} evaluations"
    other = f"{data['against']} (torch {data['torch']})"
    yield f"Whole answers of {data['bundle']} on {data['device']}: {size}, against {other}."
    rates = data["rates"]
    copied = f"a copy {rates['copy'] / 1e9:.0f} GB/s"
    yield f"A product reaches {rates['product'] / 1e12:.1f} TFLOP/s, {copied}."
    rows = []
    for row in data["rows"]:
        faster = f"{row['faster']:.2f}" if "faster" in row else ""
        share = f"{row['of_the_product']:.2f}" if "of_the_product" in row else ""
        rows.append(
            f"| {row['answer']} | {row['ms']:.2f} | {row['distance']:.1e} | {faster} | {share} |"
        )
    yield from table("answer | ms | off by | times as fast | of the product's rate", rows)
    if data["cudagraph_skips"]:
        yield f"torch.compile left {data['cudagraph_skips']} graphs without CUDA graphs."
    yield from failed(data)


def page(results: Results) -> Iterator[str]:
    machine = results.get("machine", {})
    yield f"# GPU check, {machine.get('date', 'no date')}"
    yield ""
    yield "; ".join(f"{key}: {value}" for key, value in machine.items() if key != "date") + "."
    makers = {"kernels": kernels, "sanitizer": sanitizer, "goldens": goldens, "answers": answers}
    for part in PARTS[1:]:
        mine = named(results, part)
        yield from ("", f"## {part}", "")
        if not mine:
            yield "Did not run, or failed; see the log."
        for name, data in mine.items():
            yield from engines(name, data) if part == "engines" else makers[part](data)
            yield ""


@click.command()
@click.argument("folder", type=Path)
def main(folder: Path) -> None:
    """Write both files."""
    results = {file.stem: json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))}
    target = folder / "report"
    target.mkdir(exist_ok=True)
    (target / "gpu-check.json").write_text(json.dumps(results, indent=1) + "\n")
    (target / "gpu-check.md").write_text("\n".join(page(results)).rstrip() + "\n")
    click.echo(target / "gpu-check.md")


if __name__ == "__main__":
    main()

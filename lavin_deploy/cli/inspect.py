"""``lavin-inspect``: what is in a bundle, after verifying all of it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from lavin_deploy.bundle.reader import Bundle
from lavin_deploy.cli.common import command, counted
from lavin_deploy.runtime.request import used_pairs
from lavin_deploy.tasks.stored import read_task


@command()
@click.argument("bundle", metavar="BUNDLE")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def inspect(bundle: str, as_json: bool) -> None:
    """Verify BUNDLE, a folder or a zip of one, and say what is in it."""
    from lavin_deploy.bundle.reader import open_bundle

    with open_bundle(bundle) as opened:
        summary = summarise(opened)
    if as_json:
        click.echo(json.dumps(summary, allow_nan=False))
    else:
        click.echo("\n".join(_lines(summary)))


def _lines(s: dict[str, Any]) -> list[str]:
    defaults, time = s["defaults"], s["time"]
    height, width = defaults["size"]
    return [
        f"{s['path']}: {s['name']}, written by {s['created_by']}",
        f"  verified  {s['verified']} files, {_bytes(s['bytes'])} in a {s['form']}, every sha256 "
        "as the manifest says",
        f"  licence   {s['licence']}",
        f"  source    {s['source']['kind']}, sha256 {s['source']['sha256']}",
        f"  defaults  {height}x{width}, {counted(defaults['pairs'], 'pair')}, "
        f"{counted(defaults['steps'], 'step')}, guidance {defaults['guidance']:g}, "
        f"{defaults['precision']}",
        f"  time      {time['convention']}; {time['kind']}, {len(time['default_grid'])} points",
        f"  sizes     {', '.join(_buckets(s['buckets']))}",
        *(
            f"  variant   {v['precision']} {v['dialect']}: {v['graphs']} graphs, {v['context']} "
            f"context, pairs {'merged' if v['pairing'] == 'merged' else 'in sequence'}, "
            f"{_bytes(v['bytes'])}"
            for v in s["variants"]
        ),
        *(_parity(s["report"].get("parity", []))),
        *(_gate(row) for row in s["report"].get("variants", [])),
        *(_task(task) for task in s["tasks"]),
        *(["  tasks     none; make one with lavin-task create"] if not s["tasks"] else []),
    ]


def _task(task: dict[str, Any]) -> str:
    about = f": {task['description']}" if task["description"] else ""
    pairs = stored_and_used(task["pairs"], task["used_pairs"])
    return f"  task      {task['name']}, {pairs}{about}"


def stored_and_used(stored: int, used: int) -> str:
    """Say how many pairs a task has and how many a run uses."""
    return f"{counted(stored, 'pair')} stored, {used} used"


def _buckets(buckets: list[dict[str, int]]) -> list[str]:
    sizes: dict[str, list[str]] = {}
    for bucket in buckets:
        size = f"{bucket['height']}x{bucket['width']}"
        sizes.setdefault(size, []).append(str(bucket["pairs"]))
    return [f"{size} with {' or '.join(pairs)} pairs" for size, pairs in sizes.items()]


def _parity(rows: list[dict[str, Any]]) -> list[str]:
    """Return one line: the worst of all rows; the report's rows are the exporter's."""
    measured = [row for row in rows if isinstance(row.get("max"), int | float)]
    if not measured:
        return ["  parity    no report"]
    worst = max(measured, key=lambda row: row["max"])
    return [
        f"  parity    {counted(len(measured), 'check')} against torch, largest relative deviation "
        f"{worst['max']:.1e} in {worst.get('graph', 'unnamed')}"
    ]


def _gate(row: dict[str, Any]) -> str:
    """Return what the export's gate found of one variant; older bundles have no such rows."""
    passed = {True: "passed", False: "failed", None: "not judged"}[row.get("passed")]
    parts = [passed + (", written by force" if row.get("forced") and not row["passed"] else "")]
    if row.get("finite") is False:
        parts.append("values that are not finite")
    if row.get("rel_l2") is not None:
        limit = "" if row.get("limit") is None else f" (limit {row['limit']:.1e})"
        parts.append(f"largest rel. L2 {row['rel_l2']:.1e}{limit}")
    parts.append(f"{counted(row.get('islands', 0), 'module')} kept in fp32")
    if row.get("ratio") is not None:
        parts.append(f"{row['ratio']:.2f}x fp32")
    if row.get("not_run"):
        parts.append(row["not_run"])
    return f"  gate      {row['precision']} {row['dialect']}: {', '.join(parts)}"


def _bytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.1f} kB"


def summarise(bundle: Bundle) -> dict[str, Any]:
    """Return what ``lavin-inspect --json`` prints.

    Args:
        bundle: an open, hence verified, bundle.

    Returns:
        JSON data: the manifest without its lists of graphs and files, and in their place numbers
        and bytes. ``verified`` is the number of files whose size and sha256 were checked.

    Raises:
        BundleError: a task is damaged.
    """
    manifest = bundle.manifest
    sizes = {path: entry.size for path, entry in manifest.files.items()}
    tasks = []
    for entry in manifest.tasks:
        task = read_task(bundle, entry.name)
        tasks.append(
            {
                "name": task.name,
                "description": task.description,
                "pairs": len(task.pairs),
                "used_pairs": used_pairs(manifest, task),
                "deterministic": task.deterministic,
                "steps": task.steps,
                "guidance": task.guidance,
            }
        )
    variants = [
        {
            "precision": variant.precision,
            "dialect": variant.dialect,
            "context": variant.context,
            "pairing": variant.pairing,
            "graphs": len(variant.graphs),
            "bytes": sum(sizes[f] for f in {*variant.weights, *(g.file for g in variant.graphs)}),
        }
        for variant in manifest.variants
    ]
    return {
        "path": str(bundle.path),
        "form": "zip" if bundle.path.is_file() else "folder",
        "verified": len(sizes),
        "bytes": sum(sizes.values()),
        "format_version": manifest.format_version,
        "name": manifest.name,
        "created_by": manifest.created_by,
        "licence": manifest.licence,
        "source": asdict(manifest.source),
        "model": manifest.model,
        "latent": asdict(manifest.latent),
        "time": asdict(manifest.time),
        "defaults": asdict(manifest.defaults),
        "buckets": [asdict(bucket) for bucket in manifest.buckets],
        "variants": variants,
        "tasks": tasks,
        "report": manifest.report,
    }

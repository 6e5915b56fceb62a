"""What is in a bundle, as plain data for people and programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from lavin_deploy.bundle import Bundle
from lavin_deploy.tasks.stored import read_task


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
                "deterministic": task.deterministic,
                "steps": task.steps,
                "guidance": task.guidance,
            }
        )
    variants = [
        {
            "precision": variant.precision,
            "dialect": variant.dialect,
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

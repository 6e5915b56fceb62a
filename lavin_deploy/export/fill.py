"""Second stage of an export: what the float32 graphs compute once and the bundle keeps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lavin_deploy.bundle.manifest import Table
from lavin_deploy.export.checks.backends import in_onnxruntime
from lavin_deploy.export.checks.end_to_end import answer_by_graphs, answer_by_models, check_answers
from lavin_deploy.export.checks.refresh import measure_refresh
from lavin_deploy.export.draft import Draft
from lavin_deploy.export.given_folders import HeldOutSamples, add_tasks, add_validation
from lavin_deploy.export.graphs.clip import measure_streams
from lavin_deploy.export.request import ExportRequest
from lavin_deploy.models.jdit import JDiT
from lavin_deploy.models.stvae import STVAE
from lavin_deploy.runtime.codec import Codec
from lavin_deploy.runtime.create_task import npy
from lavin_deploy.runtime.modulation import Modulation
from lavin_deploy.runtime.sampler import Sampler

TABLE = "tables/modulation.npy"


def fill(
    dit: JDiT, vae: STVAE, request: ExportRequest, draft: Draft, samples: HeldOutSamples
) -> Draft:
    """Write ``tables/``, ``tasks/``, ``selftest/``, ``validation/`` and the texts.

    Streams, and for refreshed contexts the interval, are measured on the way.

    Raises:
        InputError: a task has too few pairs, or a picture cannot be read.
        WorkError: a whole answer deviates from the models', or the disk refused.
    """
    manifest, writer, grid = draft.manifest, draft.writer, request.grid
    bundle, base = draft.bundle, draft.bases[request.dialects[0]]
    defaults, (height, width) = manifest.defaults, manifest.defaults.size
    with in_onnxruntime(bundle, base) as backend:
        modulation = Modulation(backend, manifest)
        codecs = {size: Codec(backend, manifest.latent, *size) for size in request.sizes}
        sampler = Sampler(backend, modulation, height=height, width=width, pairs=defaults.pairs)
        answer = answer_by_graphs(codecs[defaults.size], sampler, manifest.latent, defaults, grid)
        expected = answer_by_models(dit, vae, defaults, answer.noise, grid)
        parity = tuple(check_answers(answer, expected))
        times = grid[:-1] if request.context == "joint" else grid
        table = np.concatenate([modulation.row(t) for t in times])
        encoders = {size: codec.encode for size, codec in codecs.items()}
        tasks = add_tasks(writer, request.tasks, encoders, min(request.pairs))
        stream = measure_streams(vae, backend, request.sizes, request.stream)
    writer.add_file(TABLE, npy(table))
    selftest = {name: f"selftest/{name}.npy" for name in ("context", "noise", "latents", "pixels")}
    for name, path in selftest.items():
        writer.add_file(path, npy(getattr(answer, name)))
    refresh = base.refresh
    if refresh is not None:
        refresh = measure_refresh(bundle, base, request.refresh, answer, expected, grid)
    validation = add_validation(writer, samples)
    for name, text in (("README.md", request.model_card), ("DATA.md", request.credits)):
        if text is not None:
            writer.add_file(name, text.encode())
    filled = replace(
        manifest,
        variants=tuple(replace(v, stream=stream, refresh=refresh) for v in manifest.variants),
        tables={"modulation": Table(file=TABLE, grid=tuple(map(float, times)))},
        tasks=tasks,
        selftest=selftest,
        validation=validation,
    )
    return replace(draft, manifest=filled, parity=(*draft.parity, *parity), expected=expected)

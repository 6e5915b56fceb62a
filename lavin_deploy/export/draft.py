"""A bundle being made: what the three stages of an export hand on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lavin_deploy.bundle.manifest import Manifest, Variant
from lavin_deploy.bundle.reader import Bundle
from lavin_deploy.bundle.store import FolderStore
from lavin_deploy.bundle.writer import BundleWriter
from lavin_deploy.export.checks.checker import TaskAnswers
from lavin_deploy.export.checks.end_to_end import Answer
from lavin_deploy.export.checks.parity import Case, Parity
from lavin_deploy.export.dialect_export import FP32, DialectExport
from lavin_deploy.export.variants import JudgedVariant


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What is known and written so far; every stage returns the draft with its own part added.

    Attributes:
        writer: of the bundle; all stages write files through it.
        manifest: so far. The stage ``float32`` sets model, buckets and float32 variants; ``fill``
            tasks, tables, self-test, validation, streams and refresh; ``lower`` the final variants.
        dialect_exports: dialect -> its traced float32 graphs (``float32``).
        cases: stem of a graph's file -> inputs and float32 outputs to check by (``float32``).
        parity: deviations from the models: of graphs (``float32``), of whole answers (``fill``).
        expected: the whole answer by the plain models (``fill``).
        judged: variants of lower precision, with their verdicts (``lower``).
        exact: what float32 answers to the bundle's tasks (``lower``).
    """

    writer: BundleWriter
    manifest: Manifest
    dialect_exports: Mapping[str, DialectExport]
    cases: Mapping[str, Sequence[Case]]
    parity: tuple[Parity, ...]
    expected: Answer | None = None
    judged: tuple[JudgedVariant, ...] = ()
    exact: TaskAnswers | None = None

    @property
    def bundle(self) -> Bundle:
        """The files that are written, under the manifest so far."""
        files = replace(self.manifest, files=dict(self.writer.files))
        text = files.to_text().encode()
        return Bundle(FolderStore(self.writer.folder), files, text)

    @property
    def bases(self) -> dict[str, Variant]:
        """The float32 variant of every dialect, as the manifest has it now."""
        return {v.dialect: v for v in self.manifest.variants if v.precision == FP32}

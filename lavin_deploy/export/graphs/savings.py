"""The exact graph rewrites of an export: each can be switched, to see what it saves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

from lavin_deploy.errors import unknown_name


@dataclass(frozen=True, kw_only=True)
class GraphRewrites:
    """What the graphs leave out without changing a number; False leaves the plain form in.

    Attributes:
        folded_time: the time enters as a row of factors instead of through modulation weights.
        fused_projections: q, k and v are one matrix product.
        fused_gate_up: gate and up of an MLP are one matrix product. Off by default: on a CPU one
            product is no faster than two, and taking its result apart is a copy (docs/LOG.md).
        no_dead_context: the last block computes no queries of the context.
        rope_constants: sines and cosines are stored instead of computed in every run.
        single_frame_vae: the ST-VAE of single frames has 2D convolutions.
    """

    folded_time: bool = True
    fused_projections: bool = True
    fused_gate_up: bool = False
    no_dead_context: bool = True
    rope_constants: bool = True
    single_frame_vae: bool = True

    @classmethod
    def chosen(cls, *, off: Iterable[str] = (), on: Iterable[str] = ()) -> GraphRewrites:
        """Return the default ones without those in ``off`` and with those in ``on``.

        Dashes and underscores are the same.

        Raises:
            InputError: an unknown name.
        """
        valid = [field.name for field in fields(cls)]
        switched = {}
        for names, value in ((off, False), (on, True)):
            for word in names:
                name = word.replace("-", "_")
                if name not in valid:
                    raise unknown_name("graph rewrite", name, valid)
                switched[name] = value
        return cls(**switched)


DEFAULT = GraphRewrites()

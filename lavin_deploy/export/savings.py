"""The exact savings of an export: on by default, each can be switched off to see what it gives."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

from lavin_deploy.errors import unknown_name


@dataclass(frozen=True, kw_only=True)
class Savings:
    """What the graphs leave out without changing a number; False leaves the plain way in.

    Attributes:
        folded_time: the time enters as a row of factors instead of through modulation weights.
        fused_projections: q, k, v are one matrix product, and so are gate and up.
        no_dead_context: the last block computes no queries of the context.
        rope_constants: sines and cosines are stored instead of computed in every run.
        single_frame_vae: the ST-VAE of single frames has 2D convolutions.
    """

    folded_time: bool = True
    fused_projections: bool = True
    no_dead_context: bool = True
    rope_constants: bool = True
    single_frame_vae: bool = True

    @classmethod
    def without(cls, names: Iterable[str]) -> Savings:
        """Return all savings but the named ones; dashes and underscores are the same.

        Raises:
            InputError: an unknown name.
        """
        known = [field.name for field in fields(cls)]
        given = [name.replace("-", "_") for name in names]
        for name in given:
            if name not in known:
                raise unknown_name("saving", name, known)
        return cls(**dict.fromkeys(given, False))


ALL = Savings()

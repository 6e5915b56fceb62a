"""Held-out episodes of one task in latents, to compare ways of training by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lavin_deploy.config import ModelConfig
from lavin_deploy.evaluation.metrics import iou, mask_from_colours
from lavin_deploy.models.jdit import JDiT
from lavin_deploy.models.stvae import STVAE
from lavin_deploy.models.vae2d import Decoder2d
from lavin_deploy.tasks.samples import Style
from lavin_deploy.training.families.registry import FAMILIES
from lavin_deploy.training.latents.encoder import picture_encoder
from lavin_deploy.training.latents.make import encode_group
from lavin_deploy.training.latents.pool import GROUP
from lavin_deploy.training.loop.processes import CPU
from lavin_deploy.training.stvae import to_images
from lavin_deploy.training.synthesis.collage import Collage
from lavin_deploy.training.tasks.base import Task
from lavin_deploy.training.tasks.registry import TASKS
from lavin_deploy.training.tasks.registry import group as draw_group

GROUPS, SEED = 24, 77


def make_task(name: str, data: Collage, *, held_out: bool) -> Task:
    """A family or a plain task."""
    return (
        FAMILIES[name](data, held_out=held_out, plain=held_out)
        if name in FAMILIES
        else TASKS[name](data)
    )


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Held-out episodes in scaled latents, their masks and colours."""

    rows: list[tuple[Tensor, Tensor, Tensor, Tensor]]
    truths: list[np.ndarray]
    copies: list[np.ndarray]
    styles: list[Style]

    @classmethod
    def of(cls, task: Task, vae: STVAE, config: ModelConfig, *, pairs: int, size: int) -> HeldOut:
        """Draw them with some example pairs, square pictures of ``size`` pixels."""
        encode = picture_encoder(vae, size, CPU, bf16=False)
        rows, truths, copies, styles = [], [], [], []
        for number in range(GROUPS):
            rng = np.random.default_rng((SEED, number))
            group = draw_group(task, rng, size, GROUP)
            raw = encode_group(encode, task, group).swapaxes(0, 1).astype(np.float32)
            z = torch.from_numpy((raw - config.latent_shift) * config.latent_scale)
            # (1 + A, N, 16, h, w)
            for answer in range(group.present.shape[1]):
                shown = np.flatnonzero(group.present[:, answer])
                if len(shown) < pairs + 2:
                    continue
                examples, asked = shown[:pairs], shown[-2:]
                both = torch.stack((z[0, examples], z[1 + answer, examples]), dim=1).flatten(0, 1)
                cond = both.transpose(0, 1)[None]
                style = group.styles[answer]
                for query in asked:
                    noise = torch.from_numpy(
                        np.random.default_rng(number).standard_normal((1, 16, 1, *z.shape[-2:]))
                    ).float()
                    q, target = (z[k, query][None, :, None] for k in (0, 1 + answer))
                    rows.append((cond, q, target, noise))
                    masks = [
                        mask_from_colours(
                            np.asarray(group.targets[k][answer]), style.foreground, style.background
                        )
                        for k in (query, examples[-1])
                    ]
                    truths.append(masks[0])
                    copies.append(masks[1])
                    styles.append(style)
        return cls(rows=rows, truths=truths, copies=copies, styles=styles)

    @torch.no_grad()
    def measure(
        self, dit: JDiT, vae: STVAE, config: ModelConfig, *, zeros: bool
    ) -> dict[str, float]:
        """Mean square error of one-step answers and their IoU."""
        decoder, losses, overlaps = Decoder2d(vae).eval(), [], []
        dit.eval()
        for start in range(0, len(self.rows), 32):
            part = slice(start, start + 32)
            cond, query, target, noise = (torch.cat(c) for c in zip(*self.rows[part], strict=True))
            noise = torch.zeros_like(noise) if zeros else noise
            with torch.autocast("cpu", torch.bfloat16):
                v = dit(noise, torch.zeros(len(noise)), cond, query).float()
            losses += (noise + v - target).square().flatten(1).mean(1).tolist()
            images = to_images(decoder((noise + v) / config.latent_scale + config.latent_shift))
            for image, truth, style in zip(
                images, self.truths[part], self.styles[part], strict=True
            ):
                read = mask_from_colours(image, style.foreground, style.background)
                overlaps.append(iou(read, truth))
        dit.train()
        copied = [iou(a, b) for a, b in zip(self.copies, self.truths, strict=True)]
        return {
            "loss": float(np.mean(losses)),
            "iou": float(np.mean(overlaps)),
            "copied": float(np.mean(copied)),
        }

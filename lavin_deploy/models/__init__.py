"""The models in PyTorch: J-DiT, ST-VAE and their weights."""

from lavin_deploy.models.checkpoint import load_checkpoint, load_released
from lavin_deploy.models.jdit import JDiT
from lavin_deploy.models.stvae import STVAE, Posterior

__all__ = ["STVAE", "JDiT", "Posterior", "load_checkpoint", "load_released"]

"""Data, losses and loops that make checkpoints."""

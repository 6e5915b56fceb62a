"""Pools of encoded episodes, made once and drawn from for hours."""

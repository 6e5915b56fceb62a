"""Where ``inlined`` used to be; ``docs/bundle.md`` has published this name."""

from __future__ import annotations

from lavin_deploy.portable import inlined

__all__ = ["inlined"]

"""What can go wrong, in sentences for the person who can mend it.

Every message says what was given, what is accepted and what to do. The command line prints the
message alone and exits with ``exit_code``; only ``--debug`` shows a traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LavinError(ValueError):
    """Base of all errors meant for users."""

    exit_code = 2


class InputError(LavinError):
    """An argument or an input file cannot be used as given."""


class BundleError(LavinError):
    """A bundle is missing, damaged, of an unknown format, or lacks what was asked of it."""


class CheckpointError(LavinError):
    """A checkpoint's files, names, shapes or values do not fit the model."""


class WorkError(LavinError):
    """The input was right but the work failed: a gate refused, a device or a disk failed."""

    exit_code = 1


def unknown_name(kind: str, given: object, accepted: Iterable[str]) -> InputError:
    """Build the error for a name that is not among ``accepted``, with the nearest as a hint.

    Args:
        kind: what the name names, e.g. ``"task"``.
        given: what the user wrote, a text or, in Python, whatever stood in its place.
        accepted: the names there are.
    """
    names = sorted(accepted)
    near = difflib.get_close_matches(given, names, n=1) if isinstance(given, str) else []
    hint = f" Did you mean {near[0]!r}?" if near else ""
    listed = ", ".join(names) if names else "none"
    return InputError(f"unknown {kind} {given!r}.{hint} Accepted: {listed}.")

"""What a command says of an error: one sentence and an exit code, whoever raised it."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from pathlib import Path

import click

from lavin_deploy.errors import InputError, LavinError, WorkError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_SHORT = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)
_WHAT_TO_DO = {
    errno.ENOENT: "check the name",
    errno.ENOTDIR: "name a folder where one is meant",
    errno.EISDIR: "name a file where one is meant",
    errno.EEXIST: "choose another name",
    errno.ENOTEMPTY: "choose another name",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "remove the circle of links",
    errno.EACCES: "change its permissions, or choose another place",
    errno.EPERM: "change its permissions, or choose another place",
    errno.EROFS: "choose a place that can be written",
}
_NO_SPACE = re.compile(r"No space left on device|File too large|StreamWriter failed")
"""As torch, safetensors and ONNX say it, without a number."""
_ALLOCATION = re.compile(r"can't allocate memory|not enough memory|out of memory|bad_alloc", re.I)


def explain(error: Exception) -> tuple[str, int]:
    """Return the sentence and the exit code for an error that ends a command.

    What the system refuses (``OSError``), a lack of memory and a text that is not UTF-8 are told as
    such; whatever has no sentence is called a fault of the program.
    """
    if isinstance(error, LavinError):
        return str(error), error.exit_code
    if isinstance(error, click.ClickException):
        hint = ""
        if isinstance(error, click.UsageError) and error.ctx is not None:
            hint = f" See {error.ctx.command_path} --help."
        return error.format_message().rstrip(".") + "." + hint, error.exit_code
    if isinstance(error, OSError) and error.errno is not None:
        return _explain_system(error)
    if _NO_SPACE.search(str(error)):
        return f"a disk is full; {_free_some()}.", WorkError.exit_code
    if isinstance(error, MemoryError) or _ALLOCATION.search(str(error)):
        text = "the memory of this machine does not suffice; ask for less at once."
        return text, WorkError.exit_code
    if isinstance(error, UnicodeError):
        return f"a text is not UTF-8 ({error}); save it as UTF-8.", InputError.exit_code
    name = type(error).__name__
    text = f"{name}: {error} (this is a fault of the program; --debug shows where)."
    return " ".join(text.split()), WorkError.exit_code


def _explain_system(error: OSError) -> tuple[str, int]:
    reason = error.strerror or str(error)
    if error.errno in _FULL or error.errno in _SHORT:
        what = f"{_shown(error.filename)}: " if error.filename is not None else ""
        advice = (
            _free_some()
            if error.errno in _FULL
            else "close other programs, or ask for less at once"
        )
        return f"{what}{reason}; {advice}.", WorkError.exit_code
    if "temporary directory" in reason:
        return f"{reason}; set TMPDIR to a folder that can be written.", WorkError.exit_code
    if error.filename is None:
        return f"the system refuses: {reason}.", WorkError.exit_code
    advice = _WHAT_TO_DO.get(error.errno or 0, "choose another file or place")
    code = InputError.exit_code if error.errno in _WHAT_TO_DO else WorkError.exit_code
    return f"{_shown(error.filename)}: {reason}; {advice}.", code


def _shown(name: object, longest: int = 160) -> str:
    text = os.fsdecode(name) if isinstance(name, str | bytes | Path) else str(name)
    return text if len(text) <= longest else f"{text[:longest]}..."


def _free_some() -> str:
    try:
        place = tempfile.gettempdir()
    except OSError:
        place = "TMPDIR"
    return f"free some space, also where temporary files go ({place})"

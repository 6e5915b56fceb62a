"""Names of files inside a bundle: relative, portable, and unable to leave its folder."""

from __future__ import annotations

import re
from collections.abc import Iterable

from lavin_deploy.errors import BundleError, InputError
from lavin_deploy.limits import LIMITS

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+@-]*")
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_LEAVES = re.compile(r"^([A-Za-z]:)?[/\\]|(^|[/\\])\.\.([/\\]|$)")
_TASK = re.compile(r"[a-z0-9][a-z0-9_-]*")


def check_path(path: str) -> str:
    """Return ``path`` if it is a relative path that means the same file on every system.

    Accepted: parts of letters, digits, ``_ . + @ -`` that begin with a letter, a digit or ``_``,
    joined by ``/``. That leaves out absolute paths, drives, ``..``, hidden and temporary files.

    Raises:
        BundleError: it is anything else.
    """
    if not is_path(path):
        raise _not_allowed(path)
    return path


def is_path(path: str) -> bool:
    """Whether ``check_path`` accepts it."""
    return len(path) <= LIMITS.path_letters and all(
        _PART.fullmatch(part) and not part.endswith(".") and not _DEVICES.fullmatch(part)
        for part in path.split("/")
    )


def check_inside(path: str) -> str:
    """Return ``path``, of any letters, if it leads outside of its folder on no system.

    Raises:
        BundleError: it begins with a slash, a backslash or a drive, or goes up by ``..``.
    """
    if _LEAVES.search(path):
        raise _not_allowed(path)
    return path


def check_paths(paths: Iterable[str]) -> None:
    """Check every path, and that no two are the same file where case does not count.

    Raises:
        BundleError: a path is not allowed, given twice, or used as a file and as a folder.
    """
    seen: dict[str, str] = {}
    folders: dict[str, str] = {}
    for path in paths:
        check_path(path)
        key = path.lower()
        if key in seen:
            raise BundleError(f"the bundle lists {path!r} twice (also as {seen[key]!r}).")
        seen[key] = path
        while "/" in key:
            key = key.rsplit("/", 1)[0]
            folders[key] = path
    for key in seen.keys() & folders.keys():
        raise BundleError(
            f"{seen[key]!r} is a file of the bundle and the folder of {folders[key]!r}."
        )


def _not_allowed(path: str) -> BundleError:
    return BundleError(
        f"the path {path!r} is not allowed in a bundle: paths are relative, stay inside it and "
        "consist of letters, digits, '_', '.', '+', '@' and '-' between '/'."
    )


def check_task_name(name: str) -> str:
    """Return ``name`` if a task may have it: 1-64 of ``a-z 0-9 _ -``, first no sign.

    Raises:
        InputError: it is anything else.
    """
    most = LIMITS.task_name_letters
    if not _TASK.fullmatch(name) or len(name) > most or _DEVICES.fullmatch(name):
        raise InputError(
            f"{name!r} cannot name a task; a name has 1 to {most} lower-case letters, digits, "
            "'_' and '-' and begins with a letter or a digit."
        )
    return name

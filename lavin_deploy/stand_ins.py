"""What often lies in a file's place: a pointer of Git LFS, or the web page that offers it."""

from __future__ import annotations

HEAD = 200
"""Bytes of a file's beginning that tell; a pointer has fewer in all."""


def stand_in(head: bytes) -> str:
    """Tell by the first bytes of a file what lies in its place, and what to do.

    Args:
        head: the first ``HEAD`` bytes, or as many as there are.

    Returns:
        The rest of a sentence that begins with the file's name; empty for anything else.
    """
    if head.startswith(b"version https://git-lfs"):
        return (
            "is a pointer of Git LFS and not the file itself; run 'git lfs pull' in its "
            "repository, or download the file."
        )
    if head.lstrip(b"\xef\xbb\xbf \r\n\t")[:9].lower().startswith((b"<!doctype", b"<html")):
        return "is a web page and not the file itself; download the file that the page offers."
    return ""

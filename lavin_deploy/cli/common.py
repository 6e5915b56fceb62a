"""The thin skin that all commands share: errors as sentences, exit codes, the progress bar."""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any, NoReturn

import click

from lavin_deploy.cli.sentences import explain
from lavin_deploy.errors import InputError, WorkError

PARTLY = 3  # part of the work was done, the rest is named
INTERRUPTED, TERMINATED = 130, 143  # what shells report for Ctrl-C and for kill


class _Skin(click.Command):
    """Ends every command the same way.

    An error is one sentence on stderr. Exit codes: 0 done, 1 the work failed, 2 the input was
    wrong, 3 part of it was done, 130 interrupted. ``--debug``, accepted by every command, shows
    the traceback.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        names = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
        settings["context_settings"] = names | settings.get("context_settings", {})
        super().__init__(*args, **settings)
        self.params.append(
            click.Option(
                ["--debug"],
                is_flag=True,
                expose_value=False,
                help="Show where in the program an error came from.",
            )
        )

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run; see ``click.Command.main``. Standalone, it ends the process."""
        args = list(sys.argv[1:] if args is None else args)
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        code = 0
        _open_streams()
        with _log_to_stderr(), _terminable():
            try:
                try:
                    result = super().main(
                        args, prog_name, complete_var, standalone_mode=False, **extra
                    )
                    code = result if isinstance(result, int) else 0
                finally:
                    _flush_output()
            except (KeyboardInterrupt, click.Abort):
                _tell("interrupted")
                code = INTERRUPTED
            except Exception as error:
                if "--debug" in args:
                    with contextlib.suppress(OSError):
                        traceback.print_exc()
                code = _report(error)
        sys.exit(code)


class Command(_Skin):
    """A command with the shared skin."""


class Group(_Skin, click.Group):
    """A group with the shared skin; its commands get it too."""

    command_class = Command


def command(name: str | None = None, **settings: Any) -> Callable[[Callable[..., Any]], Command]:
    """Make a function a command with the shared skin; otherwise as ``click.command``."""
    return click.command(name, cls=Command, **settings)


def group(name: str | None = None, **settings: Any) -> Callable[[Callable[..., Any]], Group]:
    """Make a function a group with the shared skin; otherwise as ``click.group``."""
    return click.command(name, cls=Group, **settings)


def counted(number: int, what: str) -> str:
    """Return ``1 pair``, ``2 pairs``."""
    return f"{number} {what}{'s' * (number != 1)}"


def parse_size(text: str) -> tuple[int, int]:
    """Read ``HxW``, e.g. of ``--size``, as (H, W).

    Raises:
        InputError: the text is anything else.
    """
    match = re.fullmatch(r"([0-9]{1,6})x([0-9]{1,6})", text.strip())
    if match is None:
        raise InputError(f"--size {text!r} is not HxW, e.g. 256x256 (rows x columns).")
    return int(match[1]), int(match[2])


def sentence(error: Exception) -> str:
    """Return what a command says of an error; see :func:`explain`."""
    return explain(error)[0]


def say_error(error: Exception, *, about: object = None) -> None:
    """Say an error on stderr as one sentence.

    Args:
        error: what went wrong.
        about: a file that it is of, named where the sentence does not.
    """
    text = sentence(error)
    _tell(f"error: {text}" if about is None or str(about) in text else f"error: {about}: {text}")


def _report(error: Exception) -> int:
    """Say what went wrong in one sentence and return the exit code."""
    if type(error).__name__ == "NoArgsIsHelpError":  # click >= 8.2; the message is the help text
        _tell(str(error))
        return 2
    if isinstance(error, OSError) and error.errno == errno.EPIPE:
        return 1  # whoever read our output has stopped
    say_error(error)
    return explain(error)[1]


def _tell(line: str) -> None:
    """Print a line on stderr; where it cannot be written, there is nobody to tell."""
    with contextlib.suppress(OSError):
        click.echo(line, err=True)


def _open_streams() -> None:
    """Make the standard streams usable, whatever the caller closed and however names are spelt.

    A closed one becomes the null device, also as a descriptor, so that no file that is opened later
    gets what a library prints. Names that are not text are printed with escapes.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 for the process's lifetime
        elif mode == "w" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _flush_output() -> None:
    """Write out what was printed, so that a full disk is noticed while it can be told."""
    try:
        sys.stdout.flush()
    except OSError as error:
        null = os.open(os.devnull, os.O_WRONLY)
        with contextlib.suppress(OSError, ValueError):  # not a file, in a test
            os.dup2(null, sys.stdout.fileno())  # or the interpreter tries again at its end
        os.close(null)
        if error.errno == errno.EPIPE:
            raise
        raise WorkError(f"standard output cannot be written: {error.strerror}.") from error


@contextlib.contextmanager
def _log_to_stderr() -> Iterator[None]:
    """Show the package's own notes, e.g. which back end was chosen, on stderr."""
    logger, handler = logging.getLogger("lavin_deploy"), logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let ``kill`` end the program the way Ctrl-C does, so that no partial file stays."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        sys.exit(TERMINATED)

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class ProgressBar:
    """One bar on stderr, or nothing where stderr is not a terminal; a context manager.

    Args:
        unit: what is counted, e.g. ``"frame"``.
    """

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._bar: Any = None

    def __enter__(self) -> ProgressBar:
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=0, unit=self._unit, file=sys.stderr, dynamic_ncols=True, leave=False
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def expect(self, more: int) -> None:
        """Take note that so many more are to come (an estimate)."""
        if self._bar is not None:
            self._bar.total = max(self._bar.n, (self._bar.total or 0) + more)
            self._bar.refresh()

    def advance(self) -> None:
        """Take note that one is done."""
        if self._bar is not None:
            self._bar.update()

    def notice(self, sentence: str) -> None:
        """Print a sentence on stderr without disturbing the bar."""
        if self._bar is not None:
            self._bar.write(sentence, file=sys.stderr)
        else:
            _tell(sentence)

"""The command ``dance``: finds the subcommand, and turns what goes wrong into a line and an exit code.

Results go to standard output, everything else to standard error. What the user can fix (a missing device, a
broken file, a wrong argument) is one line there and exit code 2; Ctrl-C is 130; anything else is a bug and
shows its traceback. SIGTERM and SIGHUP (a closed terminal) end everything as Ctrl-C does, with 143 and 129.

Contents
--------
main, make_parser, COMMANDS
"""

import argparse
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import NoReturn

from ._version import __version__
from .commands.common import USER_ERROR, say
from .errors import DanceError, one_line

COMMANDS = ("devices", "doctor", "latency", "listen", "play", "transcribe")
"""Names of the subcommands and of their modules in `dance.commands`."""

_INTERRUPTED = 130
_SIGNALLED = 128  # and the number of the signal: what shells report
_ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class _Terminated(KeyboardInterrupt):
    """A signal that ends programs has come; its argument is the signal's number."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    _make_streams_safe()
    try:
        with _terminable():
            # The one that is named is enough, and to load the others takes longer than to open a microphone.
            named = tuple(arguments[:1])
            options = make_parser(named if set(named) & set(COMMANDS) else COMMANDS).parse_args(arguments)
            code: int = options.run(options)
            sys.stdout.flush()
            return code
    except BrokenPipeError:  # whoever read our output went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (DanceError, OSError) as error:
        say(one_line(error))
        return USER_ERROR
    except _Terminated as end:
        return _SIGNALLED + int(end.args[0])
    except KeyboardInterrupt:
        return _INTERRUPTED


def make_parser(commands: Sequence[str] = COMMANDS) -> argparse.ArgumentParser:
    """Return the parser of the command line with these subcommands."""
    parser = argparse.ArgumentParser(
        prog="dance",
        description="Hear every drum: which, when, how hard.",
        epilog="dance COMMAND -h explains each.",
    )
    parser.add_argument("--version", action="version", version=f"dance {__version__}")
    added = parser.add_subparsers(metavar="COMMAND", required=True)
    for name in commands:
        command = import_module(f".commands.{name}", __package__)
        one = added.add_parser(
            command.NAME,
            help=command.HELP,
            description=command.HELP[0].upper() + command.HELP[1:] + ".",
            epilog="\n  ".join(["examples:", *command.EXAMPLES]),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_options(one)
        one.set_defaults(run=command.run)
    return parser


def _make_streams_safe() -> None:
    """Let no print fail, neither on a file's name that is not text nor on a stream that was closed before the start."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


@contextmanager
def _terminable() -> Iterator[None]:
    """Let `_ENDING` raise `_Terminated` meanwhile, so that notes and files are ended; not where a handler is set."""
    free = [number for number in _ENDING if signal.getsignal(number) is signal.SIG_DFL]
    if threading.current_thread() is not threading.main_thread():
        free = []
    for number in free:
        signal.signal(number, _terminate)
    try:
        yield
    finally:
        for number in free:
            signal.signal(number, signal.SIG_DFL)


def _terminate(number: int, frame: object) -> NoReturn:
    for ours in _ENDING:
        if signal.getsignal(ours) is _terminate:
            signal.signal(ours, signal.SIG_IGN)  # it may come twice, and what ends must not be ended
    raise _Terminated(number)

"""The command ``dance``: finds the subcommand, and turns what goes wrong into a line and an exit code.

Results go to standard output, everything else to standard error. What the user can mend (a missing device, a
broken file, a wrong argument) is one line there and exit code 2; Ctrl-C is 130; anything else is a bug and
shows its traceback.

Contents
--------
main
"""

import argparse
import os
import sys
from collections.abc import Sequence

from ._version import __version__
from .commands import devices, listen, play, transcribe
from .commands.common import MENDABLE, say
from .errors import DanceError

COMMANDS = (devices, listen, play, transcribe)
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # whoever read our output went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (DanceError, OSError) as error:
        say(error)
        return MENDABLE
    except KeyboardInterrupt:
        return _INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dance",
        description="Hear every drum: which, when, how hard.",
        epilog="dance COMMAND -h explains each.",
    )
    parser.add_argument("--version", action="version", version=f"dance {__version__}")
    added = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
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

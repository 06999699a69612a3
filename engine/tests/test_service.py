"""The systemd unit is one that systemd takes, and starts a command that exists."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from stage import ROOT

from dance.cli import make_parser

UNIT = ROOT / "examples" / "dance.service"


def setting(name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)


def test_it_starts_a_command_that_exists() -> None:
    (command,) = setting("ExecStart")
    program, *arguments = shlex.split(command)
    assert Path(program).name == "dance"
    assert make_parser().parse_args(arguments).run.__module__ == "dance.commands.listen"


def test_it_starts_at_boot_and_again_and_again() -> None:
    assert setting("WantedBy") == ["multi-user.target"]
    assert setting("Restart") == ["always"]
    assert setting("StartLimitIntervalSec") == ["0"]


def test_hits_do_not_fill_the_journal_and_messages_reach_it() -> None:
    assert setting("StandardOutput") == ["null"]
    assert setting("StandardError") == ["journal"]  # which goes where the output goes, unless told otherwise


def test_systemd_takes_it(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze here")
    unit = tmp_path / "dance.service"
    # systemd wants the program to be there.
    unit.write_text(UNIT.read_text().replace("/opt/dance/bin/dance", sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    complaints = [line for line in done.stderr.splitlines() if "dance.service" in line]
    assert complaints == []

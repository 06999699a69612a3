"""What the documentation tells people to type is understood."""

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from dance.cli import make_parser

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "data" / "README.md"]
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def commands() -> Iterator[tuple[str, str]]:
    """Yield page and command, of code blocks without a language; comments and the ends of pipes are cut off."""
    for page in PAGES:
        for block in re.findall(r"^```\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                for part in re.split(r"\s(?:\||&&)\s", re.sub(r"(^|\s)#.*", "", line)):
                    if re.match(r"\s*(dance|python\s+\S+\.py|make)\s", part + " "):
                        yield str(page.relative_to(ROOT)), part.strip()


@pytest.mark.parametrize(("page", "command"), sorted(set(commands())))
def test_documented_commands_are_understood(page: str, command: str) -> None:
    words = [word for word in shlex.split(re.sub(r"\s*>.*", "", command)) if word != "..."]
    if words[0] == "make":
        assert set(words[1:]) <= TARGETS
        return
    if words[0] == "dance":
        parser, arguments = make_parser(), words[1:]
        if arguments in ([], ["COMMAND", "-h"]):
            return
    else:
        file = ROOT / words[1]
        pytest.importorskip("torch")
        spec = importlib.util.spec_from_file_location(f"documented_{file.stem}", file)
        assert spec and spec.loader, file
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        parser, arguments = module.parser(), words[2:]
    try:
        parser.parse_args(arguments)
    except SystemExit as end:
        assert end.code == 0, command  # -h and --version


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert "://" in target or (page.parent / target).exists(), target

"""Finding and checking the files of a music library: any size of it, any names in it, whatever is broken in it.

Contents
--------
RECORDINGS, BY_FFMPEG, MUSIC, missing, find_files, keyed_otherwise, identity, regular_file, unreadable, cause, printable
"""

import os
import stat
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

RECORDINGS = (".wav", ".wave", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".w64", ".caf")
"""Suffixes of what libsndfile reads."""
BY_FFMPEG = (".m4a", ".mp4", ".aac", ".wma", ".webm", ".mka")
"""Suffixes of what libsndfile does not read, and ffmpeg does."""
MUSIC = (*RECORDINGS, *BY_FFMPEG)
"""Suffixes of what music libraries hold; what needs ffmpeg is refused with the advice to convert it."""


def missing(inputs: Iterable[Path]) -> str:
    """Return, in words, which of `inputs` is not there; nothing if all are."""
    return next((f"no such file or folder: {path}" for path in inputs if not os.path.lexists(path)), "")


def find_files(inputs: Iterable[Path], suffixes: Collection[str]) -> Iterator[tuple[str, Path]]:
    """Yield each file to work on and its key: a path that names it wherever the library lies.

    Folders are searched at any depth, through links, each real folder once, so loops end. A file that was
    named itself is yielded whatever its suffix. So is a folder that cannot be listed, for whoever reads
    it to complain of: what is broken has to cost a line, not vanish. What begins with ``._`` is none of the
    library: macOS keeps there, on other file systems, what it knows of a file.

    Parameters
    ----------
    inputs : iterable of Path
        Files and folders. Keys are relative to a single folder, else to what all inputs have in common.
    suffixes : collection of str
        Lower case, with the dot.
    """
    roots, base = _roots(inputs)
    folders = [root for root in roots if _is_folder(root)]
    seen: set[tuple[int, int]] = set()
    for root in roots:
        if root in folders:
            found = _walk(root, suffixes, seen)
        else:
            found = iter(() if any(root.is_relative_to(folder) for folder in folders) else (root,))
        for path in found:
            # the same in every locale; bytes that are no UTF-8 stay what they are
            yield os.fsencode(path.relative_to(base)).decode("utf-8", "surrogateescape"), path


def _roots(inputs: Iterable[Path]) -> tuple[list[Path], Path]:
    """Return what is searched, and what keys are relative to."""
    roots = list(dict.fromkeys(Path(os.path.abspath(path)) for path in inputs))  # noqa: PTH100 (links stay links)
    if len(roots) == 1 and _is_folder(roots[0]):
        return roots, roots[0]
    return roots, Path(os.path.commonpath([root.parent for root in roots])) if roots else Path()


def keyed_otherwise(key: str, inputs: Sequence[Path]) -> bool:
    """Return whether `key` is that of a file below `inputs`, but had it when other inputs were given."""
    roots, base = _roots(inputs)
    if os.path.lexists(base / key):
        return False
    named = [(root, place / key) for root in roots for place in (root, *root.parents)]
    return any(path.is_relative_to(root) and os.path.isfile(path) for root, path in named)  # noqa: PTH113 (any name)


def _walk(root: Path, suffixes: Collection[str], seen: set[tuple[int, int]]) -> Iterator[Path]:
    waiting = [root]
    while waiting:
        path = waiting.pop()
        if not _is_folder(path):
            if path.suffix.lower() in suffixes and not path.name.startswith("._"):
                yield path
            continue
        status = path.stat()
        if (status.st_dev, status.st_ino) not in seen:
            seen.add((status.st_dev, status.st_ino))
            try:
                waiting += sorted(path.iterdir(), reverse=True)
            except OSError:
                yield path


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # its parent may be listed but not entered
        return False


def identity(path: Path) -> tuple[int, int] | None:
    """Return device and inode, or None; they change when a disk is unmounted under the same path."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def regular_file(path: Path, largest: int) -> int:
    """Return the size of the file at `path` in bytes, without opening what might never answer.

    Raises
    ------
    ValueError
        If it is no regular file, empty, or larger than `largest`.
    OSError
        If it cannot be reached.
    """
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        next(path.iterdir(), None)  # raises where it cannot be listed
        raise ValueError("a folder, not a file")
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("not a regular file")
    if status.st_size == 0:
        raise ValueError("an empty file")
    if status.st_size > largest:
        raise ValueError(f"{status.st_size / 1e6:.1f} MB; at most {largest / 1e6:g} MB are read")
    return status.st_size


def unreadable(path: Path, error: Exception) -> str:
    """Return in a line why the file at `path` is not readable as audio, as `error` has it, and what helps."""
    advice = "; convert it: ffmpeg -i FILE FILE.flac" if path.suffix.lower() in BY_FFMPEG else ""
    return f"not readable as audio ({cause(error)}){advice}"


def cause(error: Exception) -> str:
    """Return what libsndfile says is wrong, without the file's name before it."""
    return str(error).rpartition(": ")[2].rstrip(".")


def printable(text: str) -> str:
    """Return `text` fit for one line of any terminal or page: file names may hold anything."""
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else "\ufffd" for c in text)

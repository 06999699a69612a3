"""Priority over other programs, and a core to run on: for machines that are busy with other things.

Both hold for the calling thread and for all that it starts later, so call these functions before there is an engine.
All threads of a program need the same priority: they share Python's lock, and one that has to wait while it holds the
lock holds up all others.

Contents
--------
be_realtime, use_cpu, PRIORITY, NICENESS
"""

import os

from .errors import DanceError, SpecError

PRIORITY = 10
"""Of SCHED_FIFO: above all ordinary programs, below sound servers and the kernel's own threads."""

NICENESS = -11
"""Asked for where real-time scheduling is refused."""

_PERMIT = (
    'put "@audio - rtprio 95" and "@audio - nice -11" into /etc/security/limits.d/audio.conf, join the group audio '
    "and log in again (a service: LimitRTPRIO=95, LimitNICE=-11)"
)


def be_realtime() -> None:
    """Take priority over other programs.

    Raises
    ------
    DanceError
        If the system refuses; the message says whether a better niceness was granted instead, and how to permit it.
    """
    if not hasattr(os, "sched_setscheduler"):
        raise DanceError("real-time scheduling is available on Linux only; everything else works as before")
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    except PermissionError:
        try:
            os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
            granted = f"; running at niceness {NICENESS} instead"
        except PermissionError:
            granted = ", nor is a better niceness"
        raise DanceError(f"real-time scheduling is not permitted{granted}. To permit it, {_PERMIT}") from None


def use_cpu(number: int) -> None:
    """Run on one core only.

    Raises
    ------
    SpecError
        If there is no such core, or the system cannot pin.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise SpecError("this system cannot tie programs to a core; leave --cpu out")
    allowed = sorted(os.sched_getaffinity(0))
    if number not in allowed:
        raise SpecError(f"no core {number} here; there are {', '.join(map(str, allowed))}")
    os.sched_setaffinity(0, {number})

"""Callbacks for an OSC In DAT of TouchDesigner: each hit triggers something, each presence moves something.

1. Start ``dance listen --osc 7000`` (it needs ``pip install -e ".[osc]"`` in the checkout of dance).
2. In TouchDesigner, add an OSC In DAT with Network Port 7000 and a Constant CHOP named ``drums``. Open the DAT's
   callbacks and paste this file there.
3. The CHOP gets a channel for each drum, 0..1, such as ``kick``: export it to any parameter.
"""


def onReceiveOSC(dat, rowIndex, message, bytes, timeStamp, address, args, peer):  # noqa: N802, N803, D103
    parts = address.strip("/").split("/")
    if parts[:2] == ["dance", "presence"]:  # /dance/presence/kick 0.42: many a second while the drum sounds
        set_channel(parts[2], args[0])
    elif parts[0] == "dance" and args[0] > 0:  # /dance/kick 0.83: once at each hit; 0 is the end of one (--osc-release)
        hit(parts[1], args[0])


def set_channel(name, value):
    """Set a channel of the Constant CHOP; a new drum gets the next free one."""
    drums = op("drums")  # noqa: F821
    for number in range(40):
        channel = getattr(drums.par, f"name{number}")
        if channel.eval() in ("", name):
            channel.val = name
            getattr(drums.par, f"value{number}").val = value
            return


def hit(name, velocity):
    """Do at a hit what you like: here a component of the drum's name is told, if there is one."""
    target = op(name)  # noqa: F821
    if target is not None and hasattr(target.par, "Pulse"):
        target.par.Pulse.pulse()

"""One line of text per event, for pipes and for terminals without rich.

Contents
--------
print_event
"""

from ..events import Event


def print_event(event: Event) -> None:
    """Print time, label and velocity, the last also as a bar."""
    bar = "#" * round(20 * event.velocity)
    print(f"{event.time:10.3f} s  {event.label:<8}{event.velocity:5.2f}  {bar}".rstrip(), flush=True)

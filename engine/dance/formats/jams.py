"""JAMS, the annotation format of music research (Humphrey et al., ISMIR 2014).

Contents
--------
write
"""

from collections.abc import Sequence
from pathlib import Path

from .._version import __version__
from ..files import replacing
from .heard import Heard


def write(paths: Sequence[Path], heard: Heard) -> None:
    """Write one annotation of the namespace ``tag_open``: time, drum and confidence of each hit.

    JAMS has no velocity: it stands in the annotation's ``sandbox``, in the order of the hits, and beside it
    ``reported``, the second of the song at which the hit was certain.
    """
    import jams

    events = heard.by_time
    annotation = jams.Annotation(
        namespace="tag_open",
        time=0,
        duration=heard.seconds,
        annotation_metadata=jams.AnnotationMetadata(annotation_tools=f"dance {__version__}", data_source="program"),
        sandbox={
            "labels": list(heard.labels),
            "velocity": [round(event.velocity, 4) for event in events],
            "reported": [round(event.reported / event.sample_rate, 6) for event in events],
        },
    )
    for event in events:
        annotation.append(
            time=round(event.time, 6), duration=0.0, value=event.label, confidence=round(event.confidence, 4)
        )
    whole = jams.JAMS(
        annotations=[annotation], file_metadata=jams.FileMetadata(title=heard.title, duration=heard.seconds)
    )
    (path,) = paths
    with replacing(path) as temporary:
        whole.save(str(temporary))

"""Layers for Sonic Visualiser: a file for each drum, since a layer has one colour.

Contents
--------
write
"""

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from ..colours import colour
from ..files import replacing
from .heard import Heard

_STEMS, _LINEAR = "1", "1"  # of its enumerations PlotStyle and VerticalScale


def write(paths: Sequence[Path], heard: Heard) -> None:
    """Write layers of time values, exact to the sample: a stem at each hit, as high as its velocity."""
    for path, label in zip(paths, heard.labels, strict=True):
        tree = ElementTree.ElementTree(_layer(label, heard))
        ElementTree.indent(tree)
        with replacing(path) as temporary:
            tree.write(temporary, encoding="UTF-8", xml_declaration=True)


def _layer(label: str, heard: Heard) -> ElementTree.Element:
    root = ElementTree.Element("sv")
    data, display = ElementTree.SubElement(root, "data"), ElementTree.SubElement(root, "display")
    model = {
        "id": "1",
        "name": label,
        "sampleRate": str(heard.sample_rate),
        "start": "0",
        "end": str(round(heard.seconds * heard.sample_rate)),
        "type": "sparse",
        "dimensions": "2",
        "resolution": "1",
        "notifyOnAdd": "true",
        "dataset": "0",
        "minimum": "0",
        "maximum": "1",
        "units": "",
    }
    ElementTree.SubElement(data, "model", model)
    points = ElementTree.SubElement(data, "dataset", id="0", dimensions="2")
    for event in heard.by_time:
        if event.label == label:
            point = {"frame": str(event.sample), "value": f"{event.velocity:.4f}", "label": label}
            ElementTree.SubElement(points, "point", point)
    layer = {
        "id": "2",
        "type": "timevalues",
        "name": label,
        "model": "1",
        "plotStyle": _STEMS,
        "verticalScale": _LINEAR,
        "scaleMinimum": "0",
        "scaleMaximum": "1",
        "colourName": label,
        "colour": colour(label),
        "darkBackground": "false",
    }
    ElementTree.SubElement(display, "layer", layer)
    return root

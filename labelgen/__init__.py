"""Labelled chunks from every source; each module is a script of its own, see ``python labelgen/midi.py -h``."""

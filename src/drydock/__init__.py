"""Drydock: what runs inside the images. See docs/structure.md for the nouns."""

__version__ = "0.1.0"

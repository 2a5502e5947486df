"""Faces in video as a table you can publish and an annotated MP4."""

__version__ = "0.1.0"

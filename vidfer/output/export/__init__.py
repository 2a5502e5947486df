"""Finished tables in the formats of other programs, read and written piece by piece."""

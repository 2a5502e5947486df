"""A trained network in the formats of other programs, each compared with torch."""

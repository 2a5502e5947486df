"""Data sets of others, each in its documented layout, as one training table (``schemas/training_faces.v1.json``)."""

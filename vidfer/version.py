"""The version, in a module of its own: `vidfer` itself knows the pipeline, which lower layers must not import."""

__version__ = "0.1.0"

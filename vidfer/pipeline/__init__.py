"""Stages put together: analysis, threads, the second pass that draws."""

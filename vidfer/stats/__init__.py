"""Statistics of faces over time, as docs/statistics.md defines them: pure functions over columns, no files."""

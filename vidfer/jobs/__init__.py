"""Archives: many videos, analysed by many workers into one data set."""

"""How good a trained network is: figures with intervals, comparisons pair by pair, and one page to look at."""

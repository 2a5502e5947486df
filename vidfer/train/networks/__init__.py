"""Networks for training on one's own data: trunks, heads, and the registry that puts them together."""

"""Training on a table of faces as a recipe (TOML) says: any network of the registry, any set of heads."""

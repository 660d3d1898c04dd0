"""The recipe: a YAML file -> frozen models, with errors that point at line and column."""

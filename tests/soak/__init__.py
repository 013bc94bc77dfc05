"""The soak: a constant load while everything is killed in turn, and a table of what came of it (`make soak`)."""

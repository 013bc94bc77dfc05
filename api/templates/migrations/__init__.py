"""The history of the templates database's tables."""

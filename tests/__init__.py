"""Heliograph's tests. See CONTRIBUTING.md for what goes where."""

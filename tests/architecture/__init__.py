"""Rules about the code itself, and the documentation held against the code."""

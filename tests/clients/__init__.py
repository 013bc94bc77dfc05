"""The recipes of docs/clients.md, run with the real clients against a real gateway."""

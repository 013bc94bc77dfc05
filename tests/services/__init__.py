"""One role with its real dependencies."""

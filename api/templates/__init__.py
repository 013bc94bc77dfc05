"""The Template Service: what is said, in which version and which languages. Owns the `templates` database."""

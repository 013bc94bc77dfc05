"""The User Service: who can be notified, and where. Owns the `users` database."""

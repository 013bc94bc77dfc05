"""Private, real servers for tests and benchmarks: PostgreSQL, Redis and RabbitMQ.

Each listens on loopback ports of its own and keeps its data in a temporary directory. Whatever way the process that
started it ends, nothing is left running and nothing is left on disk (`guard.py`).

This file imports nothing, because the guard starts from this package and must start quickly.
"""

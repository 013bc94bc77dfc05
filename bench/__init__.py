"""Benchmarks: the whole chain, on real servers, with every id checked. `make bench` runs them."""

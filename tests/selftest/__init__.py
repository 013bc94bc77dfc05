"""Tests of the test servers themselves."""

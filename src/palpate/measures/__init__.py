"""Measures: each file answers one question about a table of readings."""

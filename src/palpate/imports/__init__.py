"""Imports: each file reads the answers that another program kept, one format a file."""

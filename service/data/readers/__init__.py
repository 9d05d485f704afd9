"""Readers of uploaded files, one format a file."""

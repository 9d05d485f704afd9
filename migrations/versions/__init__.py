"""One file a revision, in a row."""

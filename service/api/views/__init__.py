"""What the API answers with, a file a noun."""

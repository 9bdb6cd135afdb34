"""What peers tell one another and their clients of themselves and of private data."""

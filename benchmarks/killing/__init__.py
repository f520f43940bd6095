"""What `benchmarks/kills.py` is made of: a source, places for the table, moments, victims, and the comparison."""

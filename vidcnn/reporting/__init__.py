"""What a run prints while it works and at its end, and the report that it writes."""

"""What a run says: while it goes on, at its end, and in the report that it leaves."""

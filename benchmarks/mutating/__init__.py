"""Parts of `benchmarks/mutations.py`: files, what is done to them, and what becomes of them."""

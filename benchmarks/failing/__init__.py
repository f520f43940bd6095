"""What `benchmarks/faults.py` is made of: a stage for short runs, and a module for each kind of fault."""

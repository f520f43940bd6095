"""What a machine has, what is wrong with it, and how to mend that: a module for each kind of thing.

Each returns `vidcnn.reporting.findings.Finding`s, and raises nothing that it can help; `examination` calls them all.
"""

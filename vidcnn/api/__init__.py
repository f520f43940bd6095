"""The parts of vidcnn for a notebook or a service: what `import vidcnn` offers.

`model` loads a classifier, `reading` reads tables and clips, `dataset` gives the samples of a training run to a loop of
your own, and `runs` calls what the commands call. `vidcnn` itself names them all and imports each when it is used.
"""

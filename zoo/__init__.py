"""The models: one family a file, each for 2-D points and for images, and what trains them.

A class here takes a `DataSpec`, has the methods of `benchmark.spec` that it can honour, and
knows nothing of how it is measured.
"""

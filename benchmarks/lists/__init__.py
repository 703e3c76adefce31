"""Lists of many methods on many data sets: ``python -m benchmarks.lists``."""

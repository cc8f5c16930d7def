"""Figures of the paper and of a run, one function each."""

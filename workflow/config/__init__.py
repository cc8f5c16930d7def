"""The configuration: blocks, checks, sheets, kinds of methods and metrics."""

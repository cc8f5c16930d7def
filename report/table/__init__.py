"""The results page: numbers, blocks, notes, CSV."""

"""One command for a machine with a GPU: is it right, how fast is it, where does the time go."""

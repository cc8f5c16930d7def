"""The official packages of the scores, run in an environment of their own, to check ours against them."""

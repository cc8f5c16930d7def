"""The authors' own programs as methods: each runs as a process, in its own checkout and environment.

Nothing of those programs is here. `adapter` holds the contract, one small module per program what differs,
`launch` what is done inside the foreign process, `run` the process, `results` what comes back.
"""

"""The published settings of the baselines as data, which a configuration is checked against without torch.

Each module holds a preset, what the shared preset does not hold, which fields are ignored and which networks
are asked for.
"""

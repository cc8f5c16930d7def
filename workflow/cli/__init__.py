"""The command `texreward`, one module per subcommand."""

"""From a configuration to typed jobs: plan, cost, status, damaged results."""

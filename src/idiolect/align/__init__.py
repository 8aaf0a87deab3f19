"""Learning from preferences: reward models and direct preference optimisation."""

"""The supervisor process: spawns the others, watches their progress, publishes results, answers commands."""

"""The supervisor process: it spawns the others, watches their progress, publishes results, and answers commands."""

"""For other processes: they follow an engine's results over losses and restarts, and ask it questions."""

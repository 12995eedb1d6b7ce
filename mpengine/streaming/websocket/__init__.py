"""The WebSocket connection: opening it, its frames, its socket. Its owner gets events."""

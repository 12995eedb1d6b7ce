"""The WebSocket connection: opening it, its frames, its socket; what happens on it arrives as events."""

"""The streaming process: it sends audio to the recogniser over one WebSocket at a time and reports results."""

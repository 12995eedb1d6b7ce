"""The streaming process: one WebSocket at a time to the recogniser, frames in, results out."""

"""The capture process: it owns the microphone, numbers samples, keeps them in the replay window and sends frames."""

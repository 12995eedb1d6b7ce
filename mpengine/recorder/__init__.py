"""The process of `mpengine record`: it reads an engine's replay window, and writes the audio to files."""

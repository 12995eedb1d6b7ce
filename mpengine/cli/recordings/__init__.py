"""The parts of `mpengine transcribe`: what goes where, the work that outlives a kill, and other formats than WAV."""

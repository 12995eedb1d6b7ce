"""The capture process: owns the microphone, numbers its samples, keeps them in the replay window, pushes frames."""

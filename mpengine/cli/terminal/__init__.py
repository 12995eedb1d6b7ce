"""What is drawn in place on a terminal."""

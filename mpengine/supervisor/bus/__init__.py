"""What the engine publishes and answers, and what it keeps of that."""

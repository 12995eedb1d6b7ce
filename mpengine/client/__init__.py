"""What other processes use: results followed over losses and restarts, and questions to an engine."""

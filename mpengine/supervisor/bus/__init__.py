"""The engine's published messages and answers, and the files and memory that keep them."""

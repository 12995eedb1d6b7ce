"""What commands show on a terminal: tables and bars, lines that are drawn again, and what signals do meanwhile."""

"""What the next run would ask, cost and take: read off the tables, measured or assumed, and added up."""

"""Where things stand in a drawing: numbers in, numbers out. Knows nothing of what is drawn."""

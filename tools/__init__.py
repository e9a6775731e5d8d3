"""Programs that set the project up; they need the standard library only."""

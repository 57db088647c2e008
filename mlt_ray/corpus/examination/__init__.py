"""Examines a corpus and says what it found."""

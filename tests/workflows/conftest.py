"""The store with small trained rows."""

from tests.trained_rows import trained as trained

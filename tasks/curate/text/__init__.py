"""Text as steps compare it: normalised words, n-grams, and the texts of a record's turns."""

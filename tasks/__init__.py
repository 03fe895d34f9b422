"""What a step does: plain functions, files and typed values in and out."""

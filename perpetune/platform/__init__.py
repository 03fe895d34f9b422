"""The local servers: up, down, and what a killed run left behind."""

"""How often the drift check alarms without drift, how often with it, and what it costs."""

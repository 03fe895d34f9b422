"""What runs, when, and who must agree: the only place that knows Prefect."""

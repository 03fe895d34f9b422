"""What each method would take here, before anything is trained, and which one is advised."""

from tasks.tune.planning.planning import plan

__all__ = ["plan"]

"""What runs, when, and who must agree."""

from tasks.rendering.log_records import show_control_characters

# Before anything is logged in the processes of Prefect's worker.
show_control_characters()

"""`params.yaml`, validated into typed settings.

Each package of tasks owns its section (`tasks.curate.settings` and so on); what is here composes,
loads, overrides, migrates and explains them. DVC reads the same file for its stages, so a section
is also a unit of rerunning: what belongs to one stage is in one section.

    section       what a section is made of
    members       sections that depend on what is registered
    settings      all sections together
    loading       a file, a model's file and `--set` become settings
    model_files   which models a project has
    overlay       a model's file laid over the project's
    migration     keys of earlier versions
    messages      what is wrong with a setting, in words
    explanation   what a setting is for
    writing       a file with comments
    reference     docs/reference/settings.md
"""

from typing import TYPE_CHECKING

from tasks.core.lazy import lazy_exports

if TYPE_CHECKING:
    from tasks.settings.loading import load_settings, read_settings
    from tasks.settings.model_files import for_model, models
    from tasks.settings.section import Section
    from tasks.settings.settings import Settings

__all__ = ["Section", "Settings", "for_model", "load_settings", "models", "read_settings"]

# The sections import `tasks.settings.section` while this package imports the sections.
__getattr__ = lazy_exports(
    __name__,
    {
        "Section": "section",
        "Settings": "settings",
        "for_model": "model_files",
        "load_settings": "loading",
        "models": "model_files",
        "read_settings": "loading",
    },
)

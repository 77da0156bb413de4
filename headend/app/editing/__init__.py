"""Editing a published title: a new release over the tracks that there are, and over new text and sound.

Comes in: a title and what is to change. Goes out: a release, which becomes the current one. Pictures are never
encoded. Files of text are cut into tracks in this process, which takes seconds; the sound of other files is encoded on
a cluster.
"""

from headend.app.editing.changes import Edit, Label, describe
from headend.app.editing.making import Edited, edit

__all__ = ["Edit", "Edited", "Label", "describe", "edit"]

"""Editing a published title: a new release with existing tracks and with new text and sound.

Input: a title and the changes. Output: a release, which becomes current. Pictures are never encoded. Sidecars are cut
into tracks in this process, which takes seconds; sound of other files is encoded on a cluster.
"""

from headend.app.editing.changes import Edit, Label, describe
from headend.app.editing.making import Edited, edit

__all__ = ["Edit", "Edited", "Label", "describe", "edit"]

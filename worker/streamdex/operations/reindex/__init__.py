"""A new collection from the log, with other settings, in the place of the old one.

`Reindexing` promises that the alias is switched only when the new collection has every document of the old one, or when
that was not asked for; that the old workers go on meanwhile; and that a stop loses nothing that was paid for.
"""

from streamdex.operations.reindex.gaps import Gap
from streamdex.operations.reindex.reindexing import Reindexing, ReindexOptions, ReindexResult

__all__ = ["Gap", "ReindexOptions", "ReindexResult", "Reindexing"]

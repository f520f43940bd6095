"""What to read: from the SOURCE arguments of a command to a stream of videos."""

from vidcnn.sources.listing import Listing, SourceVideo

__all__ = ["Listing", "SourceVideo"]

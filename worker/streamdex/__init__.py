"""streamdex: document changes on Kafka, embedded by Jina, searchable in Qdrant. README.md says how it works."""

from importlib.metadata import version

__version__ = version("streamdex")

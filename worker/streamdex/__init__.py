"""streamdex: document changes on Kafka, embedded by Jina, searchable in Qdrant. How it works: see README.md."""

from importlib.metadata import version

__version__ = version("streamdex")

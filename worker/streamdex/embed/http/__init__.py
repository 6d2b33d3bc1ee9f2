"""The only place that talks HTTP to the embedding service: texts and fields go out, checked vectors come back.

A request is tried once, and anything but a right answer becomes exactly one fault of ours. No message, log line or repr
holds a text, an address with credentials or the key.
"""

"""What stands in Qdrant: payloads of points, manifests, and the names of both.

Promises that these formats do not change: golden values in the tests hold them.
"""

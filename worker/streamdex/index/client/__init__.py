"""The connection to Qdrant and its collections, one method per request.

Promises that every failure is one of our faults, that requests are bounded in time, and that only `completed` counts.
"""

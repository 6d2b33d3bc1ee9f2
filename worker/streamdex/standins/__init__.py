"""Stand-ins for Kafka, Jina and Qdrant that make one process self-sufficient.

Promises that clients need not know them from the real services: they speak the real protocols on loopback ports, fail
on demand in the ways that the real ones do, and count every fault that fired.
"""

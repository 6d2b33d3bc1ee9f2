"""One member of the Kafka group, and the only place that uses aiokafka's consumer.

Promises that a partition is read only between its assignment and its drain, that commits name explicit offsets of
partitions that are ours, and that a client that is stuck or dead is recreated.
"""

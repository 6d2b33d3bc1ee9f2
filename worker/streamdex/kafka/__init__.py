"""What every Kafka client shares: options, opening and closing, errors, rights, reading a topic, position headers.

Promises that a failure of Kafka comes out as one of our faults, decided by its type, and that nothing here hangs.
"""

"""The worker: joins the stages, and takes each document from its record to its one outcome.

Promises that every record that is accepted ends in exactly one outcome, or stays unsettled and is read again by the
partition's next owner; that outages pause and only proven faults dead-letter; and that a stop ends in time.
"""

"""The formats of events: one module per format, each a pure function from a record to an event or a RecordFault."""

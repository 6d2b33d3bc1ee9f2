"""What makes one process self-sufficient: stand-ins for Kafka, Jina and Qdrant that speak their protocols."""

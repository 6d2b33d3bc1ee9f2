"""Protobuf bytes for what is written with every document, made without an object per field.

Promises the same bytes, up to the order of fields, that the generated classes would give.
"""

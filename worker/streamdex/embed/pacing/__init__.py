"""How fast, how large and how many at once requests may go, within one key's limits. Pure: time is an argument.

`pacer` joins the rest: `rate` keeps requests and tokens per minute, `recovery` how much of them a 429 has left us,
`concurrency` the requests under way, `batch_size` how much one carries, `usage` what our own requests have shown.
`share` is a replica's part of the key: with 2 of 8 partitions it uses a quarter of the limits.
"""

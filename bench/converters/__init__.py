"""Public data sets as our events: one module a set, each with `convert(folder)`.

    python -m bench.converters.claude_code FOLDER OUT.jsonl

FOLDER holds the sets (or is the set itself). What comes out is what a service would have published: fields
that say what is right or wrong in a set never get into an event. Events come in the order of event time.
"""

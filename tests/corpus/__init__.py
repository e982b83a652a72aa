"""A generated corpus for the quality bench: trajectories of agents, healthy and not, with what is true beside them.

`generate.corpus(seeds)` tells them; `families.py` lists what there is. Nothing here knows a detector: only schemas are
imported, and ids, names, tools and order carry no hint (tests/unit/corpus holds both).
"""

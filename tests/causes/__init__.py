"""Generated cases with known causes and known gaps in what an agent knew. Nothing here knows how they are found.

`gaps.py` plants facts that a session read, missed or lost; `failures.py` plants what made resources fail. Each case is
one tenant, told as events in the order a broker got them, with what is true beside it.
"""

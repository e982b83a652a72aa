"""Facts, candidates, context gaps, attribution, the life of an incident. Pure."""

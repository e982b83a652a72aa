"""What we talk about: events, signals, incidents, topics, errors, codecs. Imports nothing of ours but itself."""

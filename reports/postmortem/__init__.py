"""The postmortem of one incident: sentences only, each bound to one query and to the events it rests on."""

"""Pure: panes, watermark, markers, sequences. No Kafka, no clock, no I/O."""

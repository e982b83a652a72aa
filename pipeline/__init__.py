"""How events become incidents: core, detectors, correlation, operators, stages."""

"""What `aftermath doctor` looks at: each file one part, each check a few findings, each fault one sentence."""

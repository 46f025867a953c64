"""Build the sample corpus: sources, edits, hosts, retain sets. Shares no code with forgetkit."""

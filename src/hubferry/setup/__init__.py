"""Change the configuration of clients on a machine, and take the changes back.

`machine` reads and writes files below a root; `edits` merges entries into texts of each format; `record` knows what was
done; `steps` puts them together. What is to stand in the files is decided by core.client_files.
"""

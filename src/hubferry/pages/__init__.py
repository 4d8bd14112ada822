"""The pages that people see at a gateway, the same in both shells: templates, and the code that fills them in."""

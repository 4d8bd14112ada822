"""What people see of a gateway, the same in every shell: templates, and how they are filled in."""

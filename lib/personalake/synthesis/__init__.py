"""What personas write: tasks as data, their requests, and what is accepted from the replies."""

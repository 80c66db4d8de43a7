"""What goes over the wire, as pydantic models. Requests are strict and refuse unknown fields; responses may gain fields."""

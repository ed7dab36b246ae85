"""How different personas and examples are from each other: figures by group, and two stores side by side."""

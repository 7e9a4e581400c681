"""What the sections are drawn with: HTML as strings, charts, pictures."""

"""What is claimed about speed and quality, measured side by side with other libraries."""

"""Labels by a language model behind any OpenAI-compatible endpoint: optional, and the only part that talks to one."""

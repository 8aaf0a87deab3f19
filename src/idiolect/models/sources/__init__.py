"""Where weights come from: a folder, a GGUF file, the Hugging Face hub, a package index."""

"""Training and fine-tuning: recipes, samples, the resumable loop and its run directory."""

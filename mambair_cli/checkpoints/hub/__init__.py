"""The Hugging Face Hub: its address, how it is asked, and what is fetched from it."""

"""What an image has, as its file tells or its pixels show, and what is done about it."""

"""Features of a network trained on photographs (AlexNet), and how far two images differ in them (LPIPS)."""

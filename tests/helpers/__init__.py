"""What tests share: small images, files, and methods that exist for tests only."""

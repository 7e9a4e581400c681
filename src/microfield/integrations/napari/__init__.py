"""The plugin for napari: reads and writes files, tries ratios on a plane, and brings a sample; found by its npe2 manifest."""

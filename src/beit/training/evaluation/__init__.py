"""What a model says about labelled pictures: asked, measured, written down."""
